"""A term's section of the config, with some keys changed."""

from detectron2.config import CfgNode

from sad.config.load import get_sad_cfg


def term_options(section: str, **changes) -> CfgNode:
    """
    Args:
        section: of SAD.DISTILL, such as CLASS.
    """
    node = get_sad_cfg().SAD.DISTILL[section]
    for key, value in changes.items():
        node[key] = value
    return node
