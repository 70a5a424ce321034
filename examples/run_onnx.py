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
    if "num" not in [x.name for x in session.get_outputs()]:
        sys.exit(f"{path} ends before the suppression (--nms none): export it with --nms graph")
    return session, json.loads(session.get_modelmeta().custom_metadata_map["card"])


def detect(session, card, path):
    """Of an image file: boxes (n, 4) x0 y0 x1 y1 in its pixels, scores (n,) and labels (n,)."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):  # 16 bits, which `convert` would make white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGB")
    sides, wanted = np.array(image.size, float), card["min_size"]
    if wanted:  # 0 leaves images as they are
        sides = np.where(sides == sides.min(), wanted, sides * (wanted / sides.min()))
        sides *= min(1, card["max_size"] / sides.max())
    size = np.maximum(sides + 0.5, 1).astype(int)
    pixels = np.asarray(image.resize(size.tolist(), Image.Resampling.BILINEAR))
    if card["channel_order"] == "BGR":
        pixels = pixels[:, :, ::-1]
    kind = {"tensor(uint8)": np.uint8}.get(session.get_inputs()[0].type, np.float32)
    images = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], kind)
    boxes, scores, labels, num = (x[0] for x in session.run(None, {"images": images}))
    n = min(int(num), int((scores >= (card["threshold"] or 0.5)).sum()))
    return boxes[:n] * np.tile(image.size / size, 2), scores[:n], labels[:n]


if __name__ == "__main__":
    (session, card), exit_code = load(sys.argv[1]), 0
    for path in sys.argv[2:]:
        try:
            found = detect(session, card, path)
        except Exception as error:  # of a broken image Pillow raises any
            print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr)
            exit_code = 1
            continue
        print(f"{path}: {len(found[0])} objects")
        for box, score, label in zip(*found, strict=True):
            corners = " ".join(f"{x:.1f}" for x in box)
            print(f"  {card['class_names'][label]} {score:.2f} at {corners}")
    sys.exit(exit_code)
