"""Names in the output folder: what is in the way of results, and what lies among them."""

import pytest

from sad.predict.output import check_free, is_result
from sad.utils.errors import UserError


@pytest.mark.parametrize("name", ["predictions.json", "predictions_teacher.json",
                                  "predictions_student.json", "predicted_pictures",
                                  "predicted_yolo"])  # fmt: skip
def test_what_is_in_the_way_of_results(tmp_path, name):
    check_free(str(tmp_path / "absent"))
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "my_predictions.json").touch()
    check_free(str(tmp_path))
    (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(UserError, match=f"{tmp_path} holds {name} already"):
        check_free(str(tmp_path))


def test_what_lies_in_a_folder_of_results():
    for path in ("predicted_pictures", "a/predicted_pictures/b/1.jpg", "/predicted_yolo/1.txt"):
        assert is_result(path)
    for path in ("", "1.jpg", "a/predicted/1.jpg", "my_predicted_pictures/1.jpg"):
        assert not is_result(path)
