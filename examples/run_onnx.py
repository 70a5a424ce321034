"""Detections of an exported detector on images: numpy, onnxruntime and pillow are all it needs.

python examples/run_onnx.py student.onnx photo.jpg [photo2.jpg ...]
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def load(path):
    """(session, card) of a file that `sad export` has written."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["card"])


def detect(session, card, path):
    """Of an image file: boxes (n, 4) x0 y0 x1 y1 in its pixels, scores (n,) and labels (n,)."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    width, height = image.size
    scale = min(card["min_size"] / min(width, height), card["max_size"] / max(width, height))
    scale = scale or 1  # a min_size of 0 leaves images as they are
    size = int(scale * width + 0.5), int(scale * height + 0.5)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    if card["channel_order"] == "BGR":
        pixels = pixels[:, :, ::-1]
    wanted = {"tensor(uint8)": np.uint8}.get(session.get_inputs()[0].type, np.float32)
    images = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], wanted)
    boxes, scores, labels, num = (x[0] for x in session.run(None, {"images": images}))
    n = min(int(num), int((scores >= (card["threshold"] or 0)).sum()))
    times = np.array([width / size[0], height / size[1]] * 2)
    return boxes[:n] * times, scores[:n], labels[:n]


if __name__ == "__main__":
    session, card = load(sys.argv[1])
    for path in sys.argv[2:]:
        for box, score, label in zip(*detect(session, card, path), strict=True):
            corners = " ".join(f"{x:.1f}" for x in box)
            print(f"{path}: {card['class_names'][label]} {score:.2f} at {corners}")
