"""The steps from configs to a report: teacher, student alone, pseudo-labels, SAD or TAR."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .configs import teacher_name, write_long
from .detectors import RETINANET, Detector
from .outcome import iterations_done, last_ap, seconds_per_iteration
from .paths import Paths
from .runner import run, sad_command
from .steps import Step

NAMES = {
    "teacher": "teacher",
    "teacher_1": "teacher, self-trained",
    "student": "student alone",
    "student_long": "student alone, as long",
    "SAD": "SAD student",
    "TAR": "TAR student",
}


def name_of(run: str) -> str:
    """In the report."""
    return NAMES.get(run) or f"teacher after {run.removeprefix('teacher_')} rounds"


@dataclass
class Experiment:
    """
    Attributes:
        configs: {"teacher", "student", "student_long", "SAD" or "TAR": yaml}.
        data_files: jsons that all results depend on.
        labels: {"the labels of train" and so on: a hash of what the user's files hold}.
        images: the same of "the unlabelled images".
        unlabeled: arguments of the labelling that name its images; none without such images.
        labeled: arguments of the labelling that name the labelled set.
        pseudo_labels: the json that it writes.
        rounds: of the teacher's self-training; the last of the teachers teaches the student.
        teacher_weights: of a teacher that is there already; "" for one to be trained.
        detector: of teacher and student; its method is the name of the distilled student's run.
        val: (json, image folder) of a set that choices are made by; None where there is none.
        opts: {name of a config: KEY VALUE pairs on top of it}.
        baselines: of "student" and "student_long", those that are trained.
        share_asked: of the images that the distillation shows, those that its teacher is asked for.
        keep_for: arguments of the labelling that keep the teacher's answers for the distillation.
    """

    paths: Paths
    configs: dict[str, str]
    data_files: Sequence[str]
    unlabeled: Sequence[str]
    labeled: Sequence[str]
    pseudo_labels: str
    teacher_weights: str = ""
    detector: Detector = RETINANET
    labels: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    val: tuple[str, str] | None = None
    opts: dict[str, list] = field(default_factory=dict)
    rounds: int = 0
    baselines: Sequence[str] = ("student", "student_long")
    share_asked: float = 1.0
    keep_for: Sequence[str] = ()
    num_gpus: int = 1
    test_set: str = ""  # of several sets, the one to report on
    command: str = ""
    notes: Sequence[str] = ()

    def steps(self) -> list[Step]:
        steps = [self._given_teacher() if self.teacher_weights else self._train("teacher")]
        if "student" in self.baselines:
            steps.append(self._train("student"))
        for number in range(1, self.rounds + 1):
            labels = self._labels_of_round(number)
            steps.append(self._label(self.teachers[number - 1], labels, f"label_{number}"))
            steps.append(self._train(self.teachers[number], {"the pseudo-labels": labels}))
        teacher = self.teachers[-1]
        made_from = {"the teacher's weights": self.weights(teacher)}
        if self.unlabeled:
            steps += [self._calibrate(teacher)] if self.val else []
            steps.append(self._label(teacher, self.pseudo_labels, "label", self._thresholds))
            made_from["the pseudo-labels"] = self.pseudo_labels
        steps.append(self._train(self.method, made_from))
        if "student_long" in self.baselines:
            made_from = {f"{self.method}.yaml's run": self.weights(self.method)}
            steps.append(self._train("student_long", made_from))
        return [*steps, self._report()]

    @property
    def teachers(self) -> list[str]:
        """Names of configs and runs."""
        return [teacher_name(number) for number in range(self.rounds + 1)]

    def _labels_of_round(self, number: int) -> str:
        return self.paths.data(f"pseudo_labels_{number}.json")

    @property
    def method(self) -> str:
        return self.detector.method

    def weights(self, name: str) -> str:
        given = self.teacher_weights if name == "teacher" else ""
        return given or self.paths.weights(name)

    def ap(self, name: str) -> float | None:
        """Of a finished run, on the test set, in percent."""
        return last_ap(self.paths.run(name), self.test_set or "test")

    def _train(self, name: str, made_from: dict | None = None) -> Step:
        command = sad_command(
            *("train", "--config-file", self.configs[name], "--resume"),
            *("--num-gpus", self.num_gpus, *self.opts.get(name, ())),
        )

        result = [self.weights(name)]
        if name == self.method and "student_long" in self.baselines:
            result.append(self.configs["student_long"])

        def work():
            if not (os.path.exists(self.weights(name)) and self.ap(name) is not None):
                self._run(name, command)
            if len(result) > 1:
                self._plan_long()

        titles = {
            "teacher": "Train the teacher on the labelled images",
            **dict.fromkeys(self.teachers[1:], "Train the teacher anew, on all images"),
            "student": "Train the student alone, on the labelled images",
            self.method: "Train the student with the teacher, on all images",
            "student_long": "Train the student alone for as long as that took",
        }
        return Step(
            name,
            titles[name],
            {
                f"{name}.yaml": self.configs[name],
                **self._labels(),
                "options": " ".join(map(str, self.opts.get(name, ()))),
                **(made_from or {}),
            },
            result,
            work,
            self.paths.run(name),
            lambda: self._say_ap(name),
            # Kept answers would make it look cheap, and the baseline that follows its time short.
            [self.paths.run("teacher_answers")] if name == self.method else [],
        )

    def _say_ap(self, name: str) -> str:
        ap = self.ap(name)
        return "" if ap is None else f", AP {ap:.1f}"

    def _given_teacher(self) -> Step:
        command = sad_command("train", "--eval-only", "--config-file", self.configs["teacher"])
        return Step(
            "teacher",
            "Evaluate the teacher that was given",
            self._teachers_inputs("teacher"),
            [self.paths.run("teacher") + f"/inference/{self.test_set}/coco_instances_results.json"],
            lambda: self._run("teacher", command),
            self.paths.run("teacher"),
            lambda: self._say_ap("teacher"),
        )

    def _plan_long(self) -> None:
        """Write the config of the baseline that is trained for as long as the distillation was."""
        iterations = iterations_done(self.paths.run(self.method))
        times = [seconds_per_iteration(self.paths.run(name)) for name in (self.method, "student")]
        ratio = times[0] / times[1] if all(times) else 1
        write_long(self.paths, max(1, round(iterations * ratio)), self.method)

    def _calibrate(self, teacher: str) -> Step:
        folder = self.paths.run("calibration")
        made_from = self._teachers_inputs(teacher) | self.images
        if "student" in self.baselines:  # the advice is better where its AP is known
            made_from["the student's weights"] = self.weights("student")

        def work():
            student_ap = last_ap(self.paths.run("student"), "val")
            command = sad_command(
                *("calibrate", "--config-file", self.configs[teacher]),
                *("--weights", self.weights(teacher), *self.unlabeled, *self.labeled),
                *("--val-json", self.val[0], "--val-images", self.val[1], "--output", folder),
                *(() if student_ap is None else ("--student-ap", student_ap)),
            )
            self._run("calibration", command)

        return Step(
            "calibration",
            "Measure what the teacher's boxes are worth",
            made_from,
            [os.path.join(folder, "calibration.json")],
            work,
            folder,
            self._advice,
        )

    def _advice(self) -> str:
        """Where it is to be read, and what of it is a warning."""
        page = os.path.join(self.paths.run("calibration"), "calibration.html")
        lines = self._calibration()["advice"]["lines"]
        warnings = [line["text"] for line in lines if line["level"] == "warning"]
        return ". ".join([f", the advice is in {page}", *warnings])

    def _calibration(self) -> dict:
        path = os.path.join(self.paths.run("calibration"), "calibration.json")
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    def _thresholds(self) -> list[str]:
        """Those that the calibration has chosen, where they are others than labelling's own."""
        if not self.val:
            return []
        found = self._calibration()["thresholds"]
        if set(found["chosen"].values()) == {found["labelling"]}:
            return []
        return ["--class-thresholds", self.paths.of("runs", "calibration", "thresholds.json")]

    def _teachers_inputs(self, teacher: str) -> dict[str, str]:
        return {
            f"{teacher}.yaml": self.configs[teacher],
            "the teacher's weights": self.weights(teacher),
            **self._labels(),
        }

    def _labels(self) -> dict[str, str]:
        return {os.path.basename(path): path for path in self.data_files} | self.labels

    def _label(
        self, teacher: str, output: str, name: str, thresholds: Callable[[], list] = list
    ) -> Step:
        def work():
            command = sad_command(
                *("label", "--config-file", self.configs[teacher]),
                *("--weights", self.weights(teacher), *self.unlabeled, *self.labeled),
                *("--output", output, "--num-gpus", self.num_gpus, *thresholds()),
                *(self.keep_for if name == "label" else ()),
            )
            self._run(name, command)

        return Step(
            name,
            "Let the teacher label the unlabelled images"
            + ("" if name == "label" else " for itself"),
            self._teachers_inputs(teacher) | self.images,
            [output],
            work,
            after=lambda: _count_labels(output),
        )

    def _report(self) -> Step:
        runs = [*self.teachers, *self.baselines, self.method]
        command = sad_command(
            *("report", "--output", self.paths.folder, "--command", self.command),
            *("--title", self.detector.title, *self._roles()),
            *(("--test-set", self.test_set) if self.test_set else ()),
            *(x for note in self.notes for x in ("--note", note)),
            *(x for name in runs for x in ("--run", f"{name_of(name)}={self.paths.run(name)}")),
        )
        return Step(
            "report",
            "Compare them",
            {name: self.weights(name) for name in runs} | {"notes": " ".join(self.notes)},
            [self.paths.of(f"report.{ending}") for ending in ("html", "json", "md", "png")],
            lambda: self._run("report", command),
        )

    def _roles(self) -> list[str]:
        """Which run is what; without a baseline nobody can tell what was gained."""
        if not self.baselines:
            return []
        found = ["--distilled", name_of(self.method), "--teacher", name_of(self.teachers[-1])]
        return found + [x for name in self.baselines for x in ("--baseline", name_of(name))]

    def _run(self, name: str, command: list[str]) -> None:
        run(command, self.paths.of("logs", f"{name}.txt"))


def _count_labels(output: str) -> str:
    folder = f"{os.path.splitext(output)[0]}_report"
    with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
        found = json.load(file)
    return f", {found['instances']} boxes on {found['images_kept']} images"
