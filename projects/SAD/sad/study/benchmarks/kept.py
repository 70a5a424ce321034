"""Steps whose teacher has answered before: they read its answers, or are the first to ask."""

from collections.abc import Callable, Iterator
from itertools import count

from torch.utils.data import DataLoader, Dataset

from ...data.loader_workers import worker_arguments
from ...data.one_piece import OnePiece
from ...data.teacher_cache import TeacherCache
from ...engine.step import SADStep
from ...utils.clock import take_turns
from .timing import Options, ratio

STEPS = 6  # from the first batch to the last, so that readers begin and end with them
READERS = (0, 2)
READ = "SAD, answers read"
COMPILED = ("SAD.DISTILL.CLASS.COMPILE", "always")


class Samples(Dataset):
    """A batch that lies in memory, with what the mapper adds of the teacher's answers."""

    def __init__(self, batch: list[dict], cache: TeacherCache | None = None, read: bool = True):
        """
        Args:
            read: False finds no answers, and each time a place for new ones.
        """
        self.batch = batch
        self.cache = cache
        self.read = read
        self.new = count()

    def __getitem__(self, index: int) -> dict:
        sample = dict(self.batch[index])
        if self.cache:
            path = self.cache.path(sample["image"])
            if not self.read:
                path += f"_{next(self.new)}"
            sample |= {"kept_path": path, "kept": self.cache.read(path)}
        return sample

    def __len__(self) -> int:
        return len(self.batch)


class InTurns:
    """Batches of some readers, endless, who read no further than the steps that are timed."""

    def __init__(self, dataset: Samples, readers: int):
        self.dataset = dataset
        self.loader = DataLoader(
            dataset,
            batch_sampler=[list(range(len(dataset)))] * STEPS,
            num_workers=readers,
            persistent_workers=readers > 0,
            collate_fn=OnePiece,
            **worker_arguments(readers),
        )

    def __iter__(self) -> Iterator[list[dict]]:
        while True:
            yield from self.loader


def kept_rows(
    options: Options,
    batch: list[dict],
    folder: str,
    floor: float,
    student: tuple[str, str],
    step: Callable[..., SADStep],
) -> dict[str, dict]:
    """
    Args:
        folder: for the answers. It should stay until all is timed: where many files were deleted a
            minute ago, ext4 takes up to 1 ms to make a new one, and else 0.01 ms.
        floor: see SAD.TEACHER.CACHE.FLOOR.
        student: KEY VALUE that leaves the student alone.
        step: of KEY VALUE pairs, see `run_config` of the section.
    """
    cache = TeacherCache(folder, dict, floor=floor, leave_free=0)

    def arm(readers, *opts, cache=None, read=True):
        trainer = step(*opts)
        trainer.data_loader = InTurns(Samples(batch, cache, read), readers)
        trainer.model.cache = cache

        def run():
            for _ in range(STEPS):
                trainer.run_step()

        return run

    arms = {
        "SAD, answers not kept": arm(0),
        "SAD, answers computed and kept": arm(0, cache=cache, read=False),
    }
    for readers in READERS:
        arms[f"student, {readers} readers"] = arm(readers, *student)
        arms[f"{READ}, {readers} readers"] = arm(readers, cache=cache)
        arms[f"{READ}, losses compiled, {readers} readers"] = arm(readers, *COMPILED, cache=cache)
    arms[f"{READ}, 0 readers"]()  # which are kept from here on
    times = take_turns(arms, options.rounds, options.device)
    pairs = {"SAD, answers computed and kept": "SAD, answers not kept"}
    for kind in (READ, f"{READ}, losses compiled"):
        pairs |= {f"{kind}, {n} readers": f"student, {n} readers" for n in READERS}
    rows = {}
    for name, base in pairs.items():
        value, interval = ratio(times[name], times[base])
        rows[f"{name} / {base}"] = {"ratio": value, "95 % interval": interval}
    return rows
