"""One call from labels and images to a distilled student: `sad.distill`."""

import json
import os
import tempfile
from dataclasses import dataclass

from ..config.defaults import detector_name
from ..config.load import get_sad_cfg
from ..report.gain import UNKNOWN
from ..utils.errors import UserError
from .configs import teacher_name
from .detectors import kind_of
from .estimate import seconds_per_iteration, total_seconds
from .experiment import Experiment
from .given_configs import experiment_of_configs
from .paths import Paths
from .plan import Plan, make_plan
from .request import Request
from .steps import Record, check_unchanged, run_steps, set_aside, stale_steps


@dataclass(frozen=True)
class Result:
    """
    Attributes:
        run: the folder of the distilled student, as `sad.Predictor` takes it.
        weights: its model_final.pth.
        report: the page to look at.
        verdict: whether distillation "helped", as the report says; "not known" without a baseline.
        ap: {"teacher", "student alone", ...: AP on the test set, in percent}.
        notes: what is to be kept in mind about these figures.
    """

    run: str
    weights: str
    report: str
    verdict: str
    ap: dict[str, float]
    notes: list[str]


def distill(
    labeled: str | None = None,
    *,
    output: str,
    images: str | None = None,
    unlabeled: str | None = None,
    val: str | None = None,
    test: str | None = None,
    data: str | None = None,
    layout: str | None = None,
    fixed_camera: bool = False,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    student: str = "tiny",
    detector: str | None = None,
    configs: str | None = None,
    iterations: int | None = None,
    minutes: float | None = None,
    flips: bool | None = None,
    size: int | None = None,
    rounds: int | None = None,
    baseline: bool = True,
    num_gpus: int = 1,
    seed: int = 0,
    redo: bool = False,
    command: str = "sad.distill",
) -> Result:
    """Train a teacher, let it label, train a student with it, and say what was gained.

    What is done already is not done again, so that the same call goes on where one was stopped.

    Args:
        labeled: labels in COCO's, YOLO's or Pascal VOC's layout: a json, a data.yaml or a folder.
        output: the folder that all is written to.
        images: the folder of the labelled images, where the labels do not say it.
        unlabeled: a folder of images without labels.
        val, test: labels to choose by and to report on; else they are split off `labeled`.
        data: a folder that holds train, val, test and unlabeled, in place of these.
        layout: coco, yolo or voc, where it is not recognised.
        fixed_camera: whether the camera stands still, so that nearly all images look alike: only
            identical files are then taken for the same image.
        teacher, student: names of networks, see `sad.pipeline.networks.find_network`.
        teacher_weights: of a teacher that is trained already; `teacher` is then its yaml.
        detector: "RetinaNet", taught by SAD, or "FasterRCNN", taught by TAR. A teacher that is
            given says it by itself; else it is a RetinaNet.
        configs: a folder with teacher.yaml, student.yaml and SAD.yaml (of Faster R-CNN TAR.yaml),
            in place of chosen settings.
        iterations: of the students, and of a teacher that starts from random weights; of another
            one by `sad.pipeline.settings.LONGER` fewer.
        minutes: for everything, in place of `iterations`.
        flips: whether images may be mirrored; by the names of the classes if not given.
        size: the longer side to which images are brought, in pixels; chosen if not given.
        rounds: how often the teacher is trained anew, on its own pseudo-labels, too.
        baseline: train the student alone, too, for as many iterations and for as long.
        redo: do again what was made from something else.
        command: what the report says made it.
    Raises:
        UserError: what is wrong with the arguments, the data, or a step.
    """
    arguments = {key: value for key, value in locals().items() if key != "command"}
    request = Request(**arguments)
    request.check()
    paths = Paths(os.path.abspath(request.output))
    paths.check()
    experiment = prepare(request, paths, command)  # what is wrong is found before anything is made
    paths.take()
    steps, record = experiment.steps(), Record(paths.folder)
    if request.redo:
        set_aside(stale_steps(steps, record), record, paths)
    check_unchanged(steps, record)
    run_steps(steps, record, Teller(paths.folder))
    with open(paths.of("report.json"), encoding="utf-8") as file:
        report = json.load(file)
    return Result(
        paths.run(experiment.method),
        paths.weights(experiment.method),
        paths.of("report.html"),
        report["gain"]["verdict"] if report["gain"] else UNKNOWN,
        {run["name"]: run["AP"] for run in report["runs"] if run["AP"] is not None},
        report["notes"],
    )


def describe_plan(request: Request) -> str:
    """What `distill` would do: the configs it would write, and how long it would take.

    Nothing is left behind, and nothing in the output folder is looked at.
    """
    request.check()
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(folder)
        experiment = prepare(request, paths, "")
        texts = []
        if not request.configs:
            for name in ("base", *experiment.teachers, "student", experiment.method):
                with open(paths.config(name), encoding="utf-8") as file:
                    texts.append(f"--- configs/{name}.yaml\n{file.read()}")
        timed = dict(experiment.configs)
        if request.teacher_weights:
            del timed["teacher"]
        seconds = seconds_per_iteration(timed, experiment.opts, request.num_gpus)
        cfgs = {name: get_sad_cfg(experiment.configs[name]) for name in seconds}
        iterations = {name: cfg.SOLVER.MAX_ITER for name, cfg in cfgs.items()}
        for name in experiment.teachers[1:]:
            iterations["teacher"] += get_sad_cfg(experiment.configs[name]).SOLVER.MAX_ITER
        asked = experiment.share_asked
        hours = total_seconds(seconds, iterations, experiment.baselines, asked) / 3600
        texts += [f"- {note}" for note in experiment.notes]
        texts += [f"[{n}] {step.title}" for n, step in enumerate(experiment.steps(), start=1)]
        each = ", ".join(f"{name} {time:.2f} s" for name, time in seconds.items())
        texts.append(f"An iteration takes: {each}. Everything takes about {hours:.1f} hours.")
    return "\n".join(texts).replace(folder, os.path.abspath(request.output))


class Teller:
    """A line for each step, on the terminal and in log.txt."""

    def __init__(self, folder: str):
        self.path = os.path.join(folder, "log.txt")

    def __call__(self, line: str) -> None:
        print(line, flush=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def prepare(request: Request, paths: Paths, command: str) -> Experiment:
    """Data and configs, chosen or given, and the steps that they lead to."""
    if request.configs:
        return experiment_of_configs(request, paths, command)
    plan = make_plan(request, paths)
    return _of_plan(request, paths, plan, command)


def _of_plan(request: Request, paths: Paths, plan: Plan, command: str) -> Experiment:
    cfg = get_sad_cfg(paths.config("student"))
    detector = kind_of(detector_name(cfg))
    names = ["student", detector.method, "student_long"]
    names += [teacher_name(number) for number in range(plan.rounds + 1)]
    configs = {name: paths.config(name) for name in names}
    _check_own_runs(paths, configs)
    unlabeled = []
    if plan.unlabeled_root:
        unlabeled = ["--json", paths.data("unlabeled.json"), "--images", plan.unlabeled_root]
    return Experiment(
        paths,
        configs,
        [paths.data(f"{name}.json") for name in ("train", "val", "test")],
        unlabeled,
        ["--labeled-json", paths.data("train.json")],
        paths.data("pseudo_labels.json"),
        labels=plan.labels,
        images=plan.images,
        teacher_weights=os.path.abspath(request.teacher_weights) if request.teacher_weights else "",
        detector=detector,
        val=(paths.data("val.json"), cfg.DATASETS.REGISTER.val.IMAGES),
        rounds=plan.rounds,
        baselines=request.baselines,
        share_asked=plan.share_asked,
        num_gpus=request.num_gpus,
        test_set="test",
        command=command,
        notes=plan.notes,
    )


def _check_own_runs(paths: Paths, configs: dict[str, str]) -> None:
    """What is written in a copied folder shall not go to the one that it was copied from.

    Raises:
        UserError: a config that is there writes elsewhere than below this folder.
    """
    for name, config in configs.items():
        if not os.path.exists(config):  # student_long.yaml, which comes last
            continue
        theirs, run = get_sad_cfg(config).OUTPUT_DIR, paths.run(name)
        if os.path.realpath(theirs) != os.path.realpath(run):
            raise UserError(
                f"OUTPUT_DIR of {config} is {theirs} and not {run}, as of a folder that was copied "
                "or moved: give another --output, which is planned anew, or move the folder back "
                "to its place"
            )
