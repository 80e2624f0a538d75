"""Where to run, by name, and whether it is there."""

import re

import torch

from stillmotion.errors import StillmotionError


def find_device(name: str | torch.device | None = None) -> torch.device:
    """Return the device of a name: auto (also None: the GPU if there is one), cpu, cuda, cuda:1, ..., or mps.
    Raises `StillmotionError`: another name, or a device that this machine has not.
    """
    if isinstance(name, torch.device):
        return name
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", name):
        raise StillmotionError(f"device {name!r} is unknown; choose auto, cpu, cuda, cuda:0, cuda:1, ..., or mps")
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            why = "PyTorch finds no GPU" if torch.version.cuda else "this PyTorch is built without CUDA"
            raise StillmotionError(f"device {name!r} is not here: {why}; use cpu or auto")
        if int(name.partition(":")[2] or 0) >= count:
            there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
            raise StillmotionError(f"device {name!r} is not here; this machine has {there}")
    if name == "mps" and not torch.backends.mps.is_available():
        raise StillmotionError("device 'mps' is not here: it is Apple's GPU; use cpu or auto")
    return torch.device(name)
