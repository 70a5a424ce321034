"""Images that cannot be read, while they are few."""

import logging

from ..data.images import allowed_unreadable
from ..utils.errors import UserError

logger = logging.getLogger(__name__)


class ReadableShare:
    """Names images that could not be read, and stops the run when they become too many."""

    def __init__(self, max_share: float, num_images: int):
        """
        Args:
            max_share: see DATALOADER.MAX_UNREADABLE.
            num_images: of the whole set.
        """
        self.max_share = max_share
        self.num_images = num_images
        self.seen = 0
        # Files: those drawn that were replaced; these and failed replacements; cut JPEGs.
        self.failed, self.named, self.truncated = set(), set(), set()

    def state_dict(self) -> dict:
        files = {name: sorted(getattr(self, name)) for name in ("failed", "named", "truncated")}
        return {"seen": self.seen, **files}

    def load_state_dict(self, state: dict) -> None:
        self.seen = state["seen"]
        for name in ("failed", "named", "truncated"):
            setattr(self, name, set(state[name]))

    def check(self, batch: list[dict]) -> None:
        """
        Raises:
            UserError: more images than are allowed were unreadable, or all that stand in for one.
        """
        self.seen += len(batch)
        for sample in batch:
            for name, why in sample["unreadable"]:
                if name not in self.named:
                    logger.warning(f"Image skipped, it cannot be read: {name} ({why})")
                self.named.add(name)
            self.failed |= {name for name, _ in sample["unreadable"][:1]}
            if "truncated" in sample and sample["file_name"] not in self.truncated:
                self.truncated.add(sample["file_name"])
                logger.warning(
                    f"Image {len(self.truncated)} that lacks its last bytes: {sample['file_name']}"
                )
        images = min(self.seen, self.num_images)
        failed = f"{len(self.failed)} of {images} images could not be read"
        if len(self.failed) > allowed_unreadable(self.max_share, images):
            found = [x for sample in batch for x in sample["unreadable"][:1]]
            last, why = found[-1] if found else (max(self.failed), "before the run was stopped")
            raise UserError(
                f"{failed}, more than DATALOADER.MAX_UNREADABLE {self.max_share:g} allows; for "
                f"example {last} ({why})"
            )
        for sample in batch:
            if "image" not in sample:
                (first, why), *others = sample["unreadable"]
                raise UserError(
                    f"{failed}, nor {len(others)} that were drawn in the place of {first} ({why})"
                )
