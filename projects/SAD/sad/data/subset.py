"""Seeded subsets of labelled images, for curves over the number of labels."""

import numpy as np


def choose_share(images: list[dict], share: float, seed: int, key: str = "image_id") -> list[dict]:
    """This share of the images (rounded, at least one), in their own order.

    Depends on the ids, the share and the seed alone (where several data sets use one id, on the
    order of these too); with one seed, a smaller share is part of a larger one.

    Args:
        key: where an image has its id, "image_id" in Detectron2's dicts and "id" in COCO's.
    """
    if share >= 1:
        return images
    order = np.random.default_rng(seed).permutation(len(images))
    ranked = sorted(
        range(len(images)), key=lambda i: (isinstance(images[i][key], str), images[i][key])
    )
    chosen = {ranked[i] for i in order[: max(1, round(share * len(images)))]}
    return [image for i, image in enumerate(images) if i in chosen]
