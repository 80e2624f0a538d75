"""Measured speed and memory of methods side by side: the same frames, batch and device, random weights and pixels."""

import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.devices import find_device
from stillmotion.errors import StillmotionError
from stillmotion.methods import Method
from stillmotion.progress import progress_bar

WARM_UP = 1
"""Passes of each model that are not timed."""


@dataclass(frozen=True)
class Subject:
    """What is measured: a method on a size of CLIP, with so many classes."""

    method: Method
    clip: CLIPConfig
    classes: int = 400


@dataclass(frozen=True)
class Speed:
    """What was measured of one method."""

    videos_per_second: float
    """Videos of one view each: the batch over the median time of a pass."""
    seconds: tuple[float, ...]
    """Of each pass."""
    peak_memory: int
    """Bytes: of a process of its own, Python and PyTorch included, on a CPU; what PyTorch allocated on a GPU."""


def measure(subjects: Sequence[Subject], device: str = "auto", batch: int = 1, repeats: int = 5) -> list[Speed]:
    """Time the methods in turn, `repeats` times, so that a slow minute of the machine slows all of them.
    Raises `StillmotionError`: no such device, or a number that makes no sense.

    Class names are encoded before, once, as in use; frames are in memory, so decoding is not in it.
    """
    for name, number in (("batch", batch), ("repeats", repeats)):
        if number < 1:
            raise StillmotionError(f"{name} is {number}; it must be at least 1")
    place = find_device(device)
    with progress_bar("measuring", len(subjects) * (repeats + 1)) as advance:
        peaks = []
        for subject in subjects:
            peaks.append(_peak_cuda(subject, place, batch) if place.type == "cuda" else _peak_alone(subject, batch))
            advance()
        models = [_Model(subject, place, batch) for subject in subjects]
        for model in models:
            for _ in range(WARM_UP):
                model.run()
        times: list[list[float]] = [[] for _ in models]
        for _ in range(repeats):
            for model, found in zip(models, times):
                started = time.perf_counter()
                model.run()
                found.append(time.perf_counter() - started)
                advance()
    return [Speed(batch / median(found), tuple(found), peak) for found, peak in zip(times, peaks)]


class _Model:
    """A model with random weights and what it is run on."""

    def __init__(self, subject: Subject, device: torch.device, batch: int):
        method, backbone = subject.method, describe(subject.clip)
        names = [str(i) for i in range(subject.classes)]
        torch.manual_seed(0)
        self.model: Any = method.build(backbone, names).eval().requires_grad_(False).to(device)
        self.device = device
        self.video = torch.randn(batch, method.num_frames, 3, *backbone.pixels.size, device=device)
        self.text: Tensor | None = None
        if self.model.text is not None:
            with torch.device("meta"):
                like = method.build(backbone, names).eval().requires_grad_(False)
                tokens = torch.empty(len(names), 8, dtype=torch.long)
                if len(like.templates) > 1:
                    tokens = tokens.expand(len(like.templates), -1, -1)
                like_text = like.encode_text(tokens)
            assert like_text is not None
            self.text = torch.nn.functional.normalize(torch.randn(like_text.shape, device=device), dim=-1)

    def run(self) -> None:
        """One pass, to its end."""
        with torch.inference_mode():
            self.model.classify(self.video, self.text)
        if self.device.type != "cpu":
            torch.accelerator.synchronize()


def _peak_cuda(subject: Subject, device: torch.device, batch: int) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    _Model(subject, device, batch).run()
    return torch.cuda.max_memory_allocated(device)


def _peak_alone(subject: Subject, batch: int) -> int:
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_peak_here, subject, batch, torch.get_num_threads()).result()
    except BrokenProcessPool as error:
        raise StillmotionError(
            f"the process that measures {type(subject.method).__name__} was ended, most often for lack of memory; "
            "use a smaller --batch"
        ) from error


def _peak_here(subject: Subject, batch: int, threads: int) -> int:
    torch.set_num_threads(threads)
    _Model(subject, torch.device("cpu"), batch).run()
    return most_memory()


def most_memory() -> int:
    """Bytes that this process has held at most until now."""
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says there counts the parent in
        line = next(x for x in status.read_text(encoding="utf-8").splitlines() if x.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
