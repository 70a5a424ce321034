"""The texts of the report: what is rounded, what is warned of, and commands that run."""

import runpy
import shlex
import shutil

import pytest

from report_made import MADE
from sad.report.html import Code, Folded, Note, Picture, Pictures, Section, Table, render
from sad.report.sections import gained, lead, markdown, results, settings, table, to_use, verdict
from toy import run_train_net

ROW = {"AP": 41.04, "AP50": 60.0, "AP75": 44.96, "parameters": 0.4181, "gflops": 0.0538327}
ROW |= {"AP_by_size": {"small": 30.04, "medium": None, "large": 51.0}}
ROW |= {"minutes": 61.26, "weights": "model_final.pth", "class_AP": {"cat": 51.04, "dog": None}}


def pair(low, high):
    of_metric = {"difference": 1.25, "low": low, "high": high}
    return {"to": "alone", "AP": of_metric, "AP50": of_metric}


def content(verdict="helped", low=0.5, high=2.0, **changes) -> dict:
    gain = {"distilled": "SAD", "baseline": "alone", "teacher": None, "share_of_gap": None}
    gain |= {"verdict": verdict, "use": "SAD", "differences": [pair(low, high)]}
    gain |= {"resamples": 1000, "seed": 0, "no_interval": "" if low else "no detections"}
    return {
        **MADE,
        "classes": {"cat": 1200, "dog": 0},
        "runs": [
            {"name": "SAD", "directory": "runs/SAD", "ms": 7.26, **ROW},
            {"name": "alone", "directory": "runs/alone", "ms": 17.5, **ROW},
        ],
        "gain": gain,
        "settings": {
            "runs": [{"seed": 0}, {"seed": 1}],
            "differing": {"SOLVER.MAX_ITER": ["9", None]},
        },
        **changes,
    }


def text_sections(report):
    return [*verdict(report), Section("Results", results(report)), settings(report)]


def cells(text):
    """Rows of the tables of a markdown."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "--" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_markdown_rounds_and_keeps_the_order():
    report = content(gain=None, notes=[])
    text = markdown(report, text_sections(report))
    assert text.startswith("# Title\n") and text.endswith("![Title](report.png)\n")
    head, *rows = cells(text)
    assert head[:7] == ["", "AP", "AP50", "AP75", "parameters (M)", "GFLOPs", "ms per image"]
    assert rows[0] == ["SAD", "41.0", "60.0", "45.0", "0.42", "0.0538", "7.3", "61.3"]
    assert rows[1][0] == "alone"
    assert rows[2:] == [
        ["class", "objects", "SAD", "alone"],
        ["cat", "1,200", "51.0", "51.0"],
        ["dog", "0", "–", "–"],
        ["size", "SAD", "alone"],
        ["small", "30.0", "30.0"],
        ["medium", "–", "–"],
        ["large", "51.0", "51.0"],
        ["", "SAD", "alone"],
        ["seed", "0", "1"],
        ["key", "SAD", "alone"],
        ["SOLVER.MAX_ITER", "9", "–"],
    ]
    assert "make it" in text and "1,000 images of some_set" in text and "(X, 2 cores" in text
    assert table(report["runs"], "github") in text
    assert "SAD, alone: tested on 1,000 images" in lead(report)


def notes(report):
    return [note for note in gained(report).parts[0].notes]


@pytest.mark.parametrize(
    ("verdict", "low", "level"),
    [
        ("helped", 0.5, "good"),
        ("no difference", -0.5, "info"),
        ("did not help", -3, "warning"),
        ("not known", None, "info"),
    ],
)
def test_a_verdict_comes_first_and_what_was_handed_in_is_a_warning(verdict, low, level):
    first, second = notes(content(verdict, low, low and 2.0))
    assert first.level == level and "AP 41.0" in first.text
    assert second == Note("warning", "Chosen on the same set.")


def test_few_images_are_named():
    assert "12 test images" in notes(content(test_images=12))[-1].text
    assert len(notes(content("not known", None, None, test_images=12))) == 2  # no interval


def test_differences_with_and_without_an_interval():
    of = gained(content())
    rows = next(part for part in of.parts if isinstance(part, Table)).rows
    assert rows == [["over “alone”"] + ["+1.2 (+0.5 to +2.0)"] * 2]
    assert "1,000 draws" in of.parts[-1].text and "seed" in of.parts[-1].text
    rows = gained(content("not known", None, None)).parts[-1].rows
    assert rows == [["over “alone”"] + ["+1.2"] * 2]


def test_notes_are_told_without_a_gain():
    (mind,) = verdict(content(gain=None))
    assert [note.text for note in mind.parts[0].notes] == ["Chosen on the same set."]
    assert verdict(content(gain=None, notes=[])) == []
    assert [section.title for section in verdict(content())][0] == gained(content()).title


def test_one_class_has_no_table_of_classes():
    report = content(classes={"cat": 1200})
    heads = [part.head[0] for part in results(report) if isinstance(part, Table)]
    assert heads == ["", "size"]


def test_runs_of_one_config_differ_in_nothing():
    report = content(settings={"runs": [{"seed": 0}] * 2, "differing": {}})
    assert not any(isinstance(part, Folded) for part in settings(report).parts)


def test_pictures_are_left_out_of_the_text():
    pictures = Section("Pictures alone", [Pictures([Picture(None)])])
    text = markdown(content(), [pictures, settings(content())])
    assert "Pictures alone" not in text and "What was run" in text


def test_a_page_of_anybodys_names():
    report = content(title="<b>", notes=["a & b <script>"], command="make '<it>'")
    html = render(report["title"], lead(report), text_sections(report))
    assert "<script>" not in html and "a &amp; b &lt;script&gt;" in html


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["model_final.pth", "model_best.pth"])
def test_what_to_use_runs(runs, toy, tmp_path, monkeypatch, weights):
    folder = shutil.copytree(runs / "student", tmp_path / "a student's run")
    report = content()
    report["runs"][0] |= {"directory": str(folder), "weights": weights}
    python, evaluate = [part.text for part in to_use(report).parts if isinstance(part, Code)]
    assert len(python.splitlines()) == 3
    photo = next((toy.root / "labeled").iterdir())
    (tmp_path / "use.py").write_text(python.replace("photo.jpg", str(photo)))
    found = runpy.run_path(str(tmp_path / "use.py"))["found"]
    assert found.boxes.shape == (len(found), 4) and len(found.scores) == len(found.labels)
    before = (folder / "config.yaml").read_bytes()
    run_train_net(monkeypatch, *shlex.split(evaluate)[2:])
    assert (folder / "evaluation/inference/toy_labeled/coco_instances_results.json").exists()
    assert (folder / "config.yaml").read_bytes() == before
