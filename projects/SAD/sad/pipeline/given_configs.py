"""An experiment by the yamls of a folder that the user names, in place of chosen settings."""

import hashlib
import os

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..config.defaults import detector_name
from ..config.load import config_path, get_sad_cfg
from ..data.checks import check_files
from ..data.datasets import nearest_set, register_from_config
from ..data.image_files import find_images
from ..preflight.cache import check_cache
from ..preflight.run import check_training
from ..preflight.values import check_config
from ..utils.errors import UserError
from .detectors import kind_of
from .experiment import Experiment
from .facts import Machine
from .kept_answers import KeptAnswers
from .paths import Paths
from .request import Request

CURVE = 4  # evaluations in the course of a run that asks for none


def experiment_of_configs(request: Request, paths: Paths, command: str) -> Experiment:
    """The configs as they are, save for where they lead and write to.

    Raises:
        UserError: one is missing or wrong, or they and --unlabeled do not go together.
    """
    configs = {name: _path(request, name) for name in ("teacher", "student")}
    cfgs = {name: get_sad_cfg(config) for name, config in configs.items()}
    detector = kind_of(detector_name(cfgs["student"]))
    method = detector.method
    configs[method] = _path(request, method)
    cfgs[method] = get_sad_cfg(configs[method])
    _check_one_detector(configs, cfgs)
    for name, cfg in cfgs.items():
        check_config(cfg)
        if not cfg.DATASETS.TEST:
            raise UserError(f"{configs[name]} tests on nothing: name a set in its DATASETS.TEST")
        register_from_config(cfg)
        cfg.OUTPUT_DIR, cfg.SEED = paths.run(name), request.seed
        if name != method:  # whose teacher is yet to be trained
            check_training(cfg, resume=True, check_teacher=False)
    test_set = _test_set(configs, cfgs, method)
    opts = {name: _opts(cfg) for name, cfg in cfgs.items()}
    opts[method] += ["SAD.TEACHER.CONFIG_FILE", configs["teacher"]]
    opts[method] += ["SAD.TEACHER.WEIGHTS", paths.weights("teacher")]
    sets = cfgs[method].DATASETS
    pseudo_labels = os.path.join(paths.folder, "pseudo_labels.json")
    unlabeled, folder, count, images = _unlabeled(
        request.unlabeled, sets.UNLABELED, configs[method]
    )
    for name in sets.UNLABELED:
        opts[method] += [f"DATASETS.REGISTER.{name}.JSON", pseudo_labels]
        opts[method] += [f"DATASETS.REGISTER.{name}.IMAGES", folder]
    check_files(sets.TRAIN)
    labeled = sum(len(DatasetCatalog.get(name)) for name in sets.TRAIN)
    gpus, where = Machine.this(request.num_gpus).gpus, paths.run("teacher_answers")
    answers = KeptAnswers.of(configs[method], labeled, count, gpus)
    share_asked = answers.share_asked(cfgs[method].SOLVER.MAX_ITER)
    keep_for = []
    if share_asked < 1 and _may_keep(cfgs[method], where):
        opts[method] += ["SAD.TEACHER.CACHE.DIR", where]
        keep_for = ["--keep-for", configs[method], *opts[method]]
    else:
        share_asked = 1.0
    files = [MetadataCatalog.get(name).get("json_file") for name in (*sets.TRAIN, *sets.TEST)]
    return Experiment(
        paths,
        configs,
        list(filter(None, files)),
        unlabeled,
        ["--labeled-dataset", sets.TRAIN[0]],
        pseudo_labels,
        detector=detector,
        images=images,
        baselines=request.baselines,
        share_asked=share_asked,
        keep_for=keep_for,
        num_gpus=request.num_gpus,
        test_set=test_set,
        opts=opts,
        command=command,
    )


def _path(request: Request, name: str) -> str:
    return config_path(os.path.join(request.configs, f"{name}.yaml"))


def _check_one_detector(configs: dict, cfgs: dict) -> None:
    """
    Raises:
        UserError: a yaml is of another detector than that of the student.
    """
    student = detector_name(cfgs["student"])
    for name, cfg in cfgs.items():
        if detector_name(cfg) != student:
            raise UserError(
                f"{configs[name]} describes a {detector_name(cfg)} and {configs['student']} a "
                f"{student}: teacher and student must be of one detector"
            )


def _test_set(configs: dict, cfgs: dict, method: str) -> str:
    """The set to report on: the last that the distilled student is tested on.

    Raises:
        UserError: a yaml is not tested on it.
    """
    test_set = cfgs[method].DATASETS.TEST[-1]
    for name, cfg in cfgs.items():
        if test_set not in cfg.DATASETS.TEST:
            raise UserError(
                f"{configs[name]} is not tested on {test_set}, the last set in DATASETS.TEST of "
                f"{configs[method]}, on which all are compared: add it to its DATASETS.TEST"
            )
    return test_set


def _opts(cfg) -> list:
    """Where a run writes to, its seed, and evaluations for the report's curve where it has none."""
    opts = ["OUTPUT_DIR", cfg.OUTPUT_DIR, "SEED", cfg.SEED]
    if not cfg.TEST.EVAL_PERIOD:
        opts += ["TEST.EVAL_PERIOD", max(1, cfg.SOLVER.MAX_ITER // CURVE)]
    return opts


def _may_keep(cfg, folder: str) -> bool:
    """Whether the teacher's answers can be kept in a folder, and the yaml names none itself."""
    if cfg.SAD.TEACHER.CACHE.DIR:
        return False
    cfg = cfg.clone()
    cfg.SAD.TEACHER.CACHE.DIR = folder
    try:
        check_cache(cfg)
    except UserError:
        return False
    return True


def _unlabeled(
    given: str | None, names: list[str], config: str
) -> tuple[list[str], str, int, dict]:
    """
    Args:
        given: a folder or the name of a data set.
        names: of the sets that the config learns from.
    Returns:
        the arguments of the labelling, the images' folder, how many they are, and what they are
        known again by.
    """
    if names and not given:
        raise UserError(
            f"{config} learns from unlabelled images: give --unlabeled, their folder or the name "
            "of a data set"
        )
    if not names and given:
        raise UserError(
            f"{config} learns from no unlabelled images: name a set in its DATASETS.UNLABELED, or "
            "leave --unlabeled out"
        )
    if not given:
        return [], "", 0, {}
    if given in DatasetCatalog:
        check_files([given])
        listed, folder = (MetadataCatalog.get(given).get(x) for x in ("json_file", "image_root"))
        count = len(DatasetCatalog.get(given))
        images = {"the unlabelled images": listed}
        return ["--dataset", given], os.path.abspath(folder), count, images
    folder = os.path.abspath(given)
    if not os.path.isdir(folder):
        raise UserError(f"--unlabeled {given} is no folder and no data set: {nearest_set(given)}")
    names = find_images(folder)
    found = hashlib.sha256("\0".join(names).encode()).hexdigest()
    return ["--images", folder], folder, len(names), {"the unlabelled images": found}
