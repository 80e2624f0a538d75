"""Where to run, by name, and whether it is there."""

import os
import re
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

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


def accelerate_on(name: str | None, **options: Any) -> Accelerator:
    """Start Accelerate on a device by name; under `accelerate launch` it joins the other processes.
    Raises `StillmotionError`: there is no such device, or one is named where each process has its own.

    Accelerate's state is one for the process, and remembers the first device and precision: it begins anew here.
    """
    device, alone = find_device(name), int(os.environ.get("WORLD_SIZE", "1")) == 1
    named = ":" in str(device) or device.type == "mps"
    if named and not alone:
        raise StillmotionError(f"device {name!r} is for one process, here every process has its own; leave it out")
    AcceleratorState._reset_state(reset_partial_state=alone)
    if named:
        os.environ[_VARIABLE] = str(device)
    try:
        return _sharding(Accelerator(cpu=device.type == "cpu", **options))
    finally:
        if named:
            del os.environ[_VARIABLE]


def _sharding(accelerator: Accelerator) -> Accelerator:
    """The same; where its configuration asks for FSDP2 it shards on CPUs too: PyTorch can, Accelerate leaves that out.
    Raises `StillmotionError`: FSDP1 is asked for.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return accelerator
    plugin, state = FullyShardedDataParallelPlugin(), accelerator.state
    if plugin.fsdp_version != 2:
        raise StillmotionError(f"FSDP version {plugin.fsdp_version} is not supported; pass --fsdp_version 2")
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, plugin
    return accelerator


_VARIABLE = "ACCELERATE_TORCH_DEVICE"
