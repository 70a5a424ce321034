"""Times of detectors that take turns."""

from exported_files import batch
from sad.export.timing import WARM_UP, milliseconds


def test_detectors_take_turns_on_one_batch(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def takes(name, seconds):
        def detect(images):
            calls.append((name, len(images)))
            clock[0] += seconds if calls.count((name, 2)) > WARM_UP else 9

        return detect

    images = [x["image"] for x in batch((4, 4), (4, 4))]
    found = milliseconds({"slow": takes("slow", 0.5), "fast": takes("fast", 0.25)}, images, 3)
    assert found == {"slow": 500, "fast": 250}
    assert calls == [("slow", 2), ("fast", 2)] * (3 + WARM_UP)
