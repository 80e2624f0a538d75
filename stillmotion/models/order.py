"""The same frames in another order: what of a model's accuracy depends on it."""

from itertools import pairwise

import numpy as np

from stillmotion.models.features import Features, Reads

ORDERS = ("shuffled", "reversed", "frozen")
"""At random but always alike, from the last to the first, and the middle frame alone in all places."""
COMPUTED = Reads(orders=("shuffled", "frozen"))
"""What a backbone is asked for besides, so that all orders can be made of its outputs; reversed ones need nothing."""


def frame_order(order: str, T: int) -> list[int]:
    """Which of T frames stands in each of T places; in a shuffled order no neighbors remain so, from 4 frames on."""
    if order == "reversed":
        return list(range(T))[::-1]
    if order == "frozen":
        return [T // 2] * T
    if order != "shuffled":
        raise ValueError(f"there is no order {order!r}")
    for seed in range(1000):
        places: list[int] = np.random.RandomState(seed).permutation(T).tolist()
        if all(abs(a - b) > 1 for a, b in pairwise(places)):
            return places
    return list(range(T))[1::2] + list(range(T))[::2]


def orders(T: int) -> dict[str, list[int]]:
    """`frame_order` of all orders, by name."""
    return {order: frame_order(order, T) for order in ORDERS}


def needed(outputs: tuple[str, ...], order: str) -> tuple[str, ...]:
    """The outputs from which `reorder` makes these ones."""
    return tuple(
        f"{name}.{order}" if name.startswith("affinity.") and order != "reversed" else name for name in outputs
    )


def reorder(features: Features, order: str) -> Features:
    """What a backbone that sees every frame alone gives for a view whose frames are in another order.

    `features` are of one view, without batch axis, and hold the outputs that `needed` names. Neighbors are others in
    another order, so their affinities were computed with it; reversed ones are the same, asked from the other side.
    """
    found = Features()
    for name, tensor in features.items():
        if not name.startswith("affinity."):
            found[name] = tensor[frame_order(order, tensor.shape[0])]
        elif order == "reversed":
            found[name] = tensor.flip(0, 1)
        else:
            found[name.removesuffix(f".{order}")] = tensor
    return found
