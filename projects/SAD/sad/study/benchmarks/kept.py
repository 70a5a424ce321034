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
    method: str,
    compiles: bool,
) -> dict[str, dict]:
    """
    Args:
        folder: for the answers. It should stay until all is timed: where many files were deleted a
            minute ago, ext4 takes up to 1 ms to make a new one, and else 0.01 ms.
        floor: see SAD.TEACHER.CACHE.FLOOR.
        student: KEY VALUE that leaves the student alone.
        step: of KEY VALUE pairs and whether the teacher's batch norms are folded, see `run_config`
            of the section.
        method: its name.
        compiles: whether its class losses can be compiled.
    """
    cache = TeacherCache(folder, dict, floor=floor, leave_free=0)

    def arm(readers, *opts, cache=None, read=True, folded=True):
        trainer = step(*opts, folded=folded)
        trainer.data_loader = InTurns(Samples(batch, cache, read), readers)
        trainer.model.cache = cache

        def run():
            for _ in range(STEPS):
                trainer.run_step()

        return run

    never, kept = f"{method}, answers not kept", f"{method}, answers computed and kept"
    read = {f"{method}, answers read": ()}
    if compiles:
        read[f"{method}, answers read, losses compiled"] = COMPILED
    before = f"{never}, batch norms not folded"
    arms = {
        never: arm(0),
        before: arm(0, folded=False),
        kept: arm(0, cache=cache, read=False),
    }
    pairs = [(kept, never), (kept, before)]
    for readers in READERS:
        alone = f"student, {readers} readers"
        arms[alone] = arm(readers, *student)
        for kind, opts in read.items():
            arms[f"{kind}, {readers} readers"] = arm(readers, *opts, cache=cache)
            pairs.append((f"{kind}, {readers} readers", alone))
    arms[f"{next(iter(read))}, 0 readers"]()  # which are kept from here on
    times = take_turns(arms, options.rounds, options.device)
    rows = {}
    for name, base in pairs:
        value, interval = ratio(times[name], times[base])
        rows[f"{name} / {base}"] = {"ratio": value, "95 % interval": interval}
    return rows
