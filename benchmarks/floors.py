"""What the machine can do at most: the rates of its products and of its memory, measured in the run that uses them."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from stillmotion.backbones.runtimes.probe import runs

ROWS, INNER, COLUMNS = 1576, 768, 3072
"""Of the product that is timed: 8 frames of ViT-B/16 through the first layer of an MLP."""


@dataclass(frozen=True)
class Floors:
    """Operations and bytes a second; 0 where the machine cannot."""

    fp32: float
    bf16: float
    int8: float
    memory: float
    """Bytes read and written by a copy."""


def interleaved(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of calls that are made in turn, so that a slow minute slows all of them; one turn is not timed."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


def measure(repeats: int, scale: int = 1) -> Floors:
    """The floors of this machine with the threads that PyTorch has now; `scale` divides the sizes."""
    m, k, n = ROWS // scale, INNER // scale // 8 * 8, COLUMNS // scale // 8 * 8
    a, b = torch.randn(m, k), torch.randn(k, n)
    calls: dict[str, Callable[[], object]] = {"fp32": lambda: a @ b}
    if runs("bf16"):
        a_half, b_half = a.bfloat16(), b.bfloat16()
        calls["bf16"] = lambda: a_half @ b_half
    if runs("int8"):
        a_int, b_int = (torch.randint(-127, 128, x.shape, dtype=torch.int8) for x in (a, b))
        out = torch.empty(m, n, dtype=torch.int32)
        calls["int8"] = lambda: torch._int_mm(a_int, b_int, out=out)
    source = torch.empty(64_000_000 // scale**2)
    target = torch.empty_like(source)
    calls["memory"] = lambda: target.copy_(source)
    found = interleaved(calls, repeats)
    rates = {name: 2 * m * k * n / seconds for name, seconds in found.items() if name != "memory"}
    return Floors(rates["fp32"], rates.get("bf16", 0.0), rates.get("int8", 0.0), 2 * source.nbytes / found["memory"])
