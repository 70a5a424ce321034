"""timm's "SAME" convolutions and poolings with padding that is known without the image.

They pad a map by what its size needs, as TensorFlow does. The graph of an exported detector pads
images to the stride of the coarsest map first. So each stride divides the map that it is for, and
the padding is a number. With one that is computed from the size, torch.export does not come to an
end.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fixed_padding() -> Iterator[None]:
    """Of all such layers, for the graphs that are made meanwhile."""
    if not importlib.util.find_spec("timm"):
        yield
        return
    from timm.layers import padding

    by_size = padding.get_same_padding
    padding.get_same_padding = _of_whole_strides
    try:
        yield
    finally:
        padding.get_same_padding = by_size


def _of_whole_strides(size: int, kernel_size: int, stride: int, dilation: int) -> int:
    """Pixels on both sides together, of a map whose `size` the stride divides."""
    return max((kernel_size - 1) * dilation + 1 - stride, 0)
