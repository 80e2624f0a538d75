"""Where chance comes from: seeds that are functions of what they are for, so that no generator's state is kept."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def item_seed(*parts: int | str) -> int:
    """A seed in [0, 2^32) that depends on nothing but these values, every bit of it on every bit of them (BLAKE2)."""
    # Of JSON, because ("a", "b") and ("ab",) are written apart.
    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=4).digest(), "big")


def view_of_epoch(seed: int, index: int, epoch: int, n: int) -> int:
    """Which of a clip's `n` cached training views an epoch reads, in [0, n).

    Each n epochs read every view once, in an order of their own for every clip and every n epochs.
    """
    if n == 1:  # by far the most frequent, and a generator takes longer than a small head's step
        return 0
    order = np.random.RandomState(item_seed(seed, index, epoch // n)).permutation(n)
    return int(order[epoch % n])


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Let PyTorch's draws on the CPU start from a seed inside the block, and go on as before after it.

    `torch.manual_seed` would reseed every GPU too, and nothing would put those back.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
