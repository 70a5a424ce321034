"""A table's three files."""

import json

from matplotlib.figure import Figure

from sad.study.table_files import write_files


def test_three_files_beside_each_other(tmp_path):
    content = {"title": "Table 9", "rows": []}
    path = tmp_path / "digits_table9"
    assert write_files(path, content, "# Table 9\n", Figure()) == "# Table 9\n"
    assert json.loads(path.with_suffix(".json").read_text()) == content
    assert path.with_suffix(".md").read_text() == "# Table 9\n\n![Table 9](digits_table9.png)\n"
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 3
