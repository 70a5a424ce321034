"""Which class is which: names travel with weights, and data sets are numbered by them.

A logit's class is a place in a list of names. Weights carry that list (`class_names`), a COCO json
gives its categories any ids: what has the same names is brought into the weights' order on reading,
what has other names is refused. Logits are never permuted.
"""

from detectron2.data import MetadataCatalog
from detectron2.utils.file_io import PathManager

from ..checkpoint.checkpointer import SADCheckpointer
from ..checkpoint.safe_load import read_weights
from ..utils.errors import UserError
from .categories import order_of
from .coco_items import short
from .coco_json import CocoJson
from .datasets import ClassOrder


def class_order(cfg, *, resume: bool, evaluates: bool, teaches: bool) -> ClassOrder | None:
    """The order of classes that weights impose on the data sets of a run.

    Args:
        cfg: its data sets are registered.
        resume: the last checkpoint in OUTPUT_DIR comes before MODEL.WEIGHTS.
        evaluates: the weights are evaluated as they are.
        teaches: whether the run has a teacher.
    Returns:
        None for that of the first data set, by rising category id.
    Raises:
        UserError: the teacher does not say its classes, or starting weights have its classes in
            another order.
    """
    checkpointer = SADCheckpointer(None, cfg.OUTPUT_DIR)
    goes_on = resume and checkpointer.has_checkpoint()
    weights = map(str, checkpointer.to_go_on_from()) if goes_on else [cfg.MODEL.WEIGHTS]
    own = next(filter(None, map(_order_in, weights)), None)
    if own and (evaluates or goes_on):
        return own
    if teaches:
        teacher = cfg.SAD.TEACHER
        order = _order_in(teacher.WEIGHTS)
        if teacher.CLASS_NAMES and not order:
            order = ClassOrder(given_names(teacher.CLASS_NAMES), "SAD.TEACHER.CLASS_NAMES")
        if own and order and sorted(own.names) == sorted(order.names) and own.names != order.names:
            raise UserError(
                f"{own.source} have their classes in another order than {order.source}: start from "
                "weights without a class layer, or in the teacher's order"
            )
        return order
    if own and sorted(own.names) == sorted(_first_names(cfg)):
        return own
    return None


def given_names(names) -> list[str]:
    """The names of SAD.TEACHER.CLASS_NAMES or --class-names: as given, or a COCO json's.

    Raises:
        UserError: the json cannot be read.
    """
    names = list(names)
    if len(names) == 1 and names[0].endswith(".json"):
        return [category["name"] for category in CocoJson(names[0], whole=False).categories]
    return names


def check_same_classes(names: list[str], wanted: ClassOrder, where: str) -> None:
    """
    Raises:
        UserError: the names are others, or in another order; the first pair that differs is named.
    """
    if names == wanted.names:
        return
    order_of(names, wanted.names, where, wanted.source)
    one, other = next(pair for pair in zip(wanted.names, names, strict=True) if pair[0] != pair[1])
    raise UserError(
        f"{wanted.source} and {where} have their classes in another order, the first of them "
        f"{short(one)} and {short(other)}"
    )


def _order_in(weights: str) -> ClassOrder | None:
    """What a file of weights says; None also where it cannot be read, which others complain of."""
    path = weights.partition("?")[0]
    if not path or path.endswith(".pkl"):  # the model zoo's have no names
        return None
    try:
        names = read_weights(PathManager.get_local_path(path)).get("class_names")
    except (UserError, OSError, AssertionError):
        return None
    return ClassOrder(names, f"weights {weights}") if names else None


def _first_names(cfg) -> list[str]:
    if not cfg.DATASETS.TRAIN:
        return []
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    if names := metadata.get("thing_classes"):
        return list(names)
    path = metadata.get("json_file")
    if not (path and PathManager.isfile(path)):
        return []
    return [category["name"] for category in CocoJson(path, whole=False).categories]
