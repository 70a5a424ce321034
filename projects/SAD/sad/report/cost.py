"""What models cost: parameters, multiply-adds, and time on this machine."""

import os
import platform
import statistics

import torch
from detectron2.utils.analysis import FlopCountAnalysis
from tqdm import tqdm

from ..data.images import ImageError
from ..data.mapper import ImageMapper
from ..utils.clock import now
from ..utils.errors import UserError

WARM_UP = 5  # images through every model before the clock counts


@torch.no_grad()
def measure(run_models: list[tuple], records: list[dict]) -> list[dict]:
    """Cost of each model, and its detections.

    The models take turns on every image, so that whatever else the machine does meets all alike.
    Timed is the model on one image in memory at its test size, padding to final boxes.

    Args:
        run_models: (detector in eval mode, config) of each run.
        records: test images in Detectron2's dicts.
    Returns:
        of each model {"parameters" (millions), "gflops" (1e9 multiply-adds, fvcore's count, on the
        first image), "ms" (median per image), "detections" (Instances on the CPU, one per record)}
    Raises:
        UserError: an image cannot be read.
    """
    mappers = [ImageMapper(cfg, is_train=False) for _, cfg in run_models]
    costs = []
    for (model, _), mapper in zip(run_models, mappers, strict=True):
        flops = FlopCountAnalysis(model, [_read(mapper, records[0])])
        flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        costs.append(
            {
                "parameters": sum(p.numel() for p in model.parameters()) / 1e6,
                "gflops": flops.tracer_warnings("none").total() / 1e9,
                "times": [],
                "detections": [],
            }
        )
    warm_up = records[:WARM_UP]
    for number, record in enumerate(tqdm(warm_up + records, "measuring", unit="image")):
        for (model, _), mapper, cost in zip(run_models, mappers, costs, strict=True):
            inputs = [_read(mapper, record)]
            start = now(model.device)
            instances = model(inputs)[0]["instances"]
            if number >= len(warm_up):
                cost["times"].append(now(model.device) - start)
                cost["detections"].append(instances.to("cpu"))
    for cost in costs:
        cost["ms"] = 1000 * statistics.median(cost.pop("times"))
    return costs


def _read(mapper: ImageMapper, record: dict) -> dict:
    try:
        return mapper(record)
    except ImageError as error:
        raise UserError(
            f"{record['file_name']} cannot be read ({error}): mend it, or take it out of the "
            "annotations"
        ) from error


def machine(device: str) -> dict:
    """What the times were measured on."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
