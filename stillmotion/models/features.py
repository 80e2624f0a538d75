"""What a backbone gives: named tensors with a frame axis, the same from a live tower, a cache or another runtime.

frames        (B, T, E)               one embedding per frame, projected to the joint space where there is one
out.11        (B, T, L, D)            all tokens behind block 11
affinity.11   (B, T - 1, 2, P, P)     how patches of neighboring frames attend to each other in block 11
affinity.11.shuffled                  the same where the frames are in another order (`models/order.py`)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from stillmotion.errors import StillmotionError

Features = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Reads:
    """The outputs of a backbone that a method asks for; blocks are counted from the end where negative."""

    frames: bool = False
    out: tuple[int, ...] = ()
    affinity: tuple[int, ...] = ()
    orders: tuple[str, ...] = ()
    """Other orders of the frames to give affinities for, too."""

    def names(self, layers: int) -> tuple[str, ...]:
        """Names of the outputs of a tower of so many blocks, each once, in order.

        Raises `StillmotionError`: a block that the tower does not have.
        """
        out, affinity = (sorted({*resolve(blocks, layers)}) for blocks in (self.out, self.affinity))
        suffixes = ("", *(f".{order}" for order in dict.fromkeys(self.orders)))
        tokens, motion = (f"out.{i}" for i in out), (f"affinity.{i}{s}" for i in affinity for s in suffixes)
        return (*(("frames",) if self.frames else ()), *tokens, *motion)

    def __or__(self, other: "Reads") -> "Reads":
        """What two methods ask for together."""
        return Reads(
            frames=self.frames or other.frames,
            out=self.out + other.out,
            affinity=self.affinity + other.affinity,
            orders=self.orders + other.orders,
        )


FRAMES = Reads(frames=True)


class Summary(NamedTuple):
    """What a reader without parameters makes of one view's features, without batch axis: it may be kept in their place.

    `name` tells it from others.
    """

    name: str
    make: Callable[[Features], Features]


def resolve(blocks: Sequence[int], layers: int) -> tuple[int, ...]:
    """Turn block indices, counted from either end, into indices from the start.

    Raises `StillmotionError`: an index outside the tower.
    """
    for block in blocks:
        if not -layers <= block < layers:
            raise StillmotionError(
                f"block {block} is outside a tower of {layers} blocks; use {-layers} to {layers - 1}"
            )
    return tuple(block % layers for block in blocks)


def last_out(features: Features) -> Tensor:
    """Tokens (B, T, L, D) of the deepest block that was read."""
    return features[f"out.{max(int(name[4:]) for name in features if name.startswith('out.'))}"]
