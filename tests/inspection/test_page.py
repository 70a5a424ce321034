"""The page shows what was found, and stands where there is little to show."""

import numpy as np

from planted import noise, write_set
from sad.inspection.examine import examine
from sad.inspection.labeled_set import read_set
from sad.inspection.page import LEAST_EXAMPLES, choose_examples, write_page
from sad.inspection.summary import summarize


def test_findings_tables_and_pictures_are_there(seen, summary):
    where = [f"name{number:03}" for number in range(80)]
    finding = {"what": "x", "level": "info", "text": "Many.", "where": where}
    findings = [*summary["findings"], finding]
    page = write_page(seen, summary | {"findings": findings}, "sad inspect --data <folder>")
    for finding in findings:
        assert finding["text"] in page.replace("&#39;", "'")
    assert page.index(findings[0]["text"]) < page.index(">Counts</h2>")
    assert "name049" in page and "name050" not in page and "30 more" in page
    assert "sad inspect --data &lt;folder&gt;" in page
    # 3 groups of 2, 3 images of suspicious boxes, 3 plots, examples of 2 sets.
    assert page.count("<figure") == 6 + 3 + 3 + LEAST_EXAMPLES + 2
    assert len(page) < 3e6


def test_little_to_show(tmp_path):
    sets = {"train": write_set(tmp_path, "train", {"a.png": (noise(0), []), "b.png": (None, [])})}
    seen = examine(sets)
    page = write_page(seen, summarize(seen))
    assert page.count("<figure") == 2  # an image, and the plot of classes
    nothing = write_set(tmp_path, "none", {"a.png": (None, [])}, classes=[])
    seen = examine({"train": nothing})
    assert write_page(seen, summarize(seen)).count("<figure") == 0


def test_examples_show_the_rare_classes(tmp_path):
    content = {f"{i}.png": (noise(i), [("cat", 1, 1, 9, 9)]) for i in range(30)}
    content |= {"r.png": (noise(50), [("fish", 1, 1, 9, 9)]), "e.png": (noise(51), [])}
    one = read_set("train", write_set(tmp_path, "train", content))
    shown = np.ones(32, bool)
    chosen = choose_examples(one, shown)
    assert len(chosen) == len({*chosen}) == LEAST_EXAMPLES and 30 in chosen
    shown[[30, chosen[-1]]] = False
    others = choose_examples(one, shown)
    assert len(others) == LEAST_EXAMPLES and not {30, chosen[-1]} & {*others}
    assert choose_examples(one, shown & False) == []
