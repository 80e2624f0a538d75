"""Whether this machine can run a kind of product at all: some virtual machines name instructions that they lack."""

import contextlib
import faulthandler
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable

import torch

LIMIT = ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
"""Without matrix tiles (AMX), which a processor may have and its virtual machine may not hand on."""
NEWER = ("int8", "bf16")
"""Kinds of products that not every processor has instructions for."""
SECONDS = 20.0
"""That a small product may take."""


def product(kind: str) -> None:
    """A small product of one kind, of the largest integers. Raises `ArithmeticError`: it is wrong."""
    most = torch.full((64, 64), 127, dtype={"int8": torch.int8, "bf16": torch.bfloat16}[kind])
    found = torch._int_mm(most, -most) if kind == "int8" else torch.nn.functional.linear(most, -most)
    if not torch.allclose(found.double(), torch.full((64, 64), -64.0 * 127**2, dtype=torch.float64), rtol=0.01):
        raise ArithmeticError(f"{kind} products are wrong here")


def runs(kind: str) -> bool:
    """Whether products of a kind run here; sets what PyTorch needs for that in the environment of this process.

    An instruction that is not there ends a process, so a copy of this one tries; on other systems than Linux it is
    taken to run. Ask before the first convolution or product of these kinds: oneDNN reads the environment once.
    """
    if kind not in NEWER or not sys.platform.startswith("linux"):
        return True
    if _survives(lambda: product(kind)):
        return True
    name, value = LIMIT
    if name in os.environ:
        return False
    os.environ[name] = value  # if oneDNN has read it before, the copy fails again
    if _survives(lambda: product(kind)):
        return True
    del os.environ[name]
    return False


def _survives(work: Callable[[], None]) -> bool:
    """Whether a copy of this process does some work without being ended by it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, none of which the copy uses
            child = os.fork()
    except OSError:  # no room for a copy
        return False
    if child == 0:
        code = 1
        try:
            faulthandler.disable()  # it would tell of an end that is no fault
            torch.set_num_threads(1)
            work()
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            pid, status = os.waitpid(child, os.WNOHANG)
        except ChildProcessError:  # somebody else waits for all children
            return False
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
