"""Mistakes of the other scripts; see tests/field/test_mistakes.py."""

SLICE = (
    "convert_weights slice --full-config {toy}/teacher.yaml --config-file {toy}/student.yaml "
    "--weights {toy}/teacher.pth --output "
)
DIGITS = "make_digits --root {out} "
REPORT = "report --output {out} "
TABLES = " --output {out}/runs --results {out}/results --tables {out}/tables "

# fmt: off
MISTAKES = {
    # convert_weights.py
    "weights written in a format that Detectron2 does not read": (
        SLICE + "{out}/narrow.pt", "--output", "narrow.pt", "from a .pth alone"),
    "weights written to a folder": (
        SLICE + "{wrong}/folder.pth", "--output", "is a folder", "name the .pth"),
    "narrow model that is the wider one": (
        "convert_weights slice --full-config {toy}/student.yaml --config-file {toy}/teacher.yaml "
        "--weights {wrong}/student.pth --output {out}/narrow.pth",
        "cannot be cut to", "too small"),
    "Detectron2's weights taken for torchvision's": (
        "convert_weights torchvision --weights {toy}/teacher.pth --output {out}/x.pth",
        "teacher.pth", "no state dict of a torchvision ResNet"),

    # make_digits.py
    "no labelled digits": (DIGITS + "--labeled 0", "labeled is 0", "at least 1 image"),
    "digits larger than the image": (
        DIGITS + "--object-size 16 200", "object_size is 16 to 200", "from 8 to 128"),
    "digits below a file": (
        "make_digits --root {wrong}/cut.json/digits", "cannot be written to", "cut.json/digits"),

    # report.py
    "run without a name": (REPORT + "--run {wrong}/run", "--run", "NAME=DIR"),
    "report on a run that is not finished": (
        REPORT + "--run one={wrong}/run", "config.yaml does not exist", "train_net.py --resume"),
    "report on no images": (REPORT + "--run one={wrong}/run --images 0", "--images", "at least 1"),
    "gain over nothing": (
        REPORT + "--run one={wrong}/run --distilled one", "--distilled NAME", "--baseline NAME"),
    "gain over a run that is not there": (
        REPORT + "--run one={wrong}/run --distilled one --baseline alone",
        "--baseline 'alone'", "must be one of one"),
    "other weights than the figures are of": (
        REPORT + "--run one={wrong}/run --weights model_best.pth", "model_best.pth", "--test-set"),

    # reproduce.py, imbalance.py and benchmark.py
    "table that the paper has not": ("reproduce --table 99" + TABLES, "--table", "'99'"),
    "no table": ("reproduce" + TABLES, "give --table or --sweep"),
    "seeds with spaces": (
        "reproduce --table 1 --seeds '0 1 2'" + TABLES, "--seeds is '0 1 2'", "such as 0,1,2"),
    "negative seed": (
        "reproduce --table 1 --seeds=-1" + TABLES, "--seeds is '-1'", "such as 0,1,2"),
    "runs on no GPU": ("reproduce --table 1 --num-gpus 0" + TABLES, "--num-gpus", "at least 1"),
    "sweep without running": ("reproduce --sweep --no-run" + TABLES, "--sweep", "--no-run"),
    "results written below a file": (
        "reproduce --table 1 --no-run --output {out} --tables {out} --results {wrong}/cut.json/r",
        "--results", "cannot be written to"),
    "results that are cut short": (
        "reproduce --table 1 --no-run --output {out} --tables {wrong} --results {wrong}",
        "digits.json", "restore"),
    "benchmark that does not exist": (
        "imbalance --benchmark digits8" + TABLES, "--benchmark", "'digits80'"),
    "benchmark of one round": ("benchmark --rounds 1", "--rounds", "at least 3"),
    "a model zoo of no runs": (
        "make_model_zoo --runs {toy} --output {out}", "teacher/config.yaml does not exist"),
    "picture of something else": ("draw_method docs/photo.png", "unrecognized arguments"),
    "page of something else": ("write_config_page README.md", "unrecognized arguments"),
    "benchmark of a section that is none": ("benchmark --section loss", "--section", "'losses'"),
    "benchmark of exported files of no run": (
        "benchmark --section export", "and --run go together"),
    "benchmark of a run without a name": (
        "benchmark --section export --run {toy}", "is not of the form NAME=DIR"),
    "benchmark of a run that is none": (
        "benchmark --section export --output {out} --run one={wrong}/absent",
        "absent/config.yaml does not exist"),
    "no jobs": ("imbalance --no-run --jobs 0" + TABLES, "--jobs", "at least 1"),
}
# fmt: on
