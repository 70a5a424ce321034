"""The page in a browser without a window: all is there, filters work, no word of complaint."""

import math
import re
import shutil
import subprocess

import numpy as np
import pytest

from report_made import picture, report
from sad.report.files import write_files
from sad.report.uncertainty import Maps

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium to look at the page with"),
]
WIDTHS = (400, 1600)
# Runs after the page's own script: what is too wide, and what a click on a filter does.
PROBE = """<script>
addEventListener("load", () => {
  const page = document.documentElement, found = page.dataset;
  for (const width of %s) {
    page.style.width = width + "px";
    found["right" + width] = Math.max(...[...document.querySelectorAll("body *")]
      .filter(x => !x.closest("table, pre, svg, .whole"))
      .map(x => x.getBoundingClientRect().right));
  }
  found.ground = getComputedStyle(document.body).backgroundColor;
  found.ink = getComputedStyle(document.querySelector("svg text")).fill;
  document.querySelector('a[href="#show=lost"]').click();
});
</script></body>"""


@pytest.fixture(scope="module")
def page(toy, tmp_path_factory):
    """report.html of four runs and three images, and one with the probe."""
    folder = tmp_path_factory.mktemp("page")
    paths = [toy.root / "labeled" / f"00000{n}.png" for n in (1, 2, 3)]
    tags = [{"gained": 2}, {"gained": 1, "lost": 1}, {}]
    content = report([picture(path, **of) for path, of in zip(paths, tags, strict=True)])
    shares = {"objects": 0.2, "uncertainty": 0.5, "divergence": {"SAD": 0.6}}
    content["uncertainty"]["images"] = [{"name": "000001.png", **shares}]
    content["no_details"] = {"one <more>": "it has none"}
    content["settings"]["differing"]["A.VERY.LONG.KEY"] = ["x" * 60] * 4
    heat = np.full((48, 64), math.log(2), np.float32)
    write_files(str(folder), content, {str(paths[0]): Maps(heat, {"SAD": heat}, shares)})
    probed = (folder / "report.html").read_text().replace("</body>", PROBE % list(WIDTHS))
    (folder / "probed.html").write_text(probed)
    return folder


def browse(page, name: str, *flags) -> str:
    """The document as it is once its scripts have run."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=2000", f"--user-data-dir={page}/profile", *flags]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{page}/{name}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    return done.stdout


def groups(document: str) -> dict[str, bool]:
    """{heading: whether it is shown}"""
    found = re.findall(r'<div class="group"([^>]*)>\s*<h3>([^<]*)', document)
    return {title.split(":")[0]: "hidden" not in attributes for attributes, title in found}


def chosen(document: str) -> list[str]:
    return re.findall(r'<a href="#show=(\w+)" aria-current="true"', document)


def test_it_opens_and_every_figure_is_there(page):
    document = browse(page, "report.html")
    assert document.count("<svg ") == 3 + 3 + 1 + 4 + 3 + 2
    assert document.count("<img ") == 3 * 5 + 3  # of all runs, and of what is hard
    assert all(groups(document).values()) and chosen(document) == ["all"]
    # Shapes and texts of a drawing are the document's own.
    assert document.count("</text>") > 100 and "one &lt;more&gt;" in document


@pytest.mark.parametrize(
    ("tag", "shown"), [("gained", [True, True, False]), ("lost", [False, True, False])]
)
def test_the_address_says_which_pictures_are_shown(page, tag, shown):
    document = browse(page, f"report.html#show={tag}")
    seen = re.findall(r'data-tags="([^"]*)"([^>]*)>', document)
    assert ["hidden" not in rest for _, rest in seen] == [*shown, True]  # the last is the teacher's
    assert chosen(document) == [tag]


def test_a_place_or_nothing_known_shows_all(page):
    for address in ("#s3", "#show=nothing"):
        document = browse(page, f"report.html{address}")
        assert all(groups(document).values()) and chosen(document) == ["all"]


def test_clicks_widths_and_the_dark(page):
    light = browse(page, "probed.html")
    dark = browse(page, "probed.html", "--blink-settings=preferredColorScheme=0")
    for document in (light, dark):
        assert chosen(document) == ["lost"]
        for width in WIDTHS:
            (right,) = re.findall(rf'data-right{width}="([\d.]+)"', document)
            assert float(right) <= width
    grounds, inks = (
        [re.findall(rf'data-{what}="rgb\((\d+)', document)[0] for document in (light, dark)]
        for what in ("ground", "ink")
    )
    assert int(grounds[0]) > 200 > 60 > int(grounds[1])
    assert int(inks[0]) < 60 < 200 < int(inks[1])


def test_it_prints(page):
    browse(page, "report.html", f"--print-to-pdf={page}/page.pdf")
    assert (page / "page.pdf").read_bytes().startswith(b"%PDF")
