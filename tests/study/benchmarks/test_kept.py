"""Steps with the teacher's answers at hand, at toy size."""

from sad.data.teacher_cache import TeacherCache
from sad.study.benchmarks.kept import STEPS, InTurns, Samples
from sad.study.benchmarks.step import make_batch


def test_readers_stop_with_the_steps_and_find_what_is_kept(tmp_path):
    cache = TeacherCache(str(tmp_path), dict, 0.001, leave_free=0)
    batch = make_batch(2, 3, (32, 32))
    for readers in (0, 2):
        batches = iter(InTurns(Samples(batch, cache), readers))
        for _ in range(2 * STEPS + 1):
            samples = next(batches)
            assert [sample["image_id"] for sample in samples] == [0, 1, 2]
            assert all(sample["kept"] is None for sample in samples)
    paths = {sample["kept_path"] for sample in samples}
    assert paths == {cache.path(sample["image"]) for sample in batch} and len(paths) == 3
    assert "kept" not in Samples(batch)[0]
