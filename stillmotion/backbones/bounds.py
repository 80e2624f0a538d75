"""Bounds of what a file may say of a tower's sizes: nothing is built before its sizes are known to be sane."""

import reprlib
from typing import Any

from stillmotion.errors import WeightsError

# With room above every published model.
_MOST = {"patch_size": 1024, "width": 16384, "layers": 200, "heads": 1024, "mlp_width": 131072, "embed_dim": 16384}
_MOST |= {"context_length": 32768, "vocab_size": 1 << 20, "eos_id": 1 << 20}
_WORDS = {"activation": ("quick_gelu", "gelu"), "pool": ("class", "mean", "argmax", "last", "eos")}
_SIDE, _PATCHES = 8192, 65536


def check_sizes(sizes: Any) -> None:
    """Check the type and the bounds of every field of a dataclass of sizes; a field has its default's type.

    Raises `WeightsError`: a value is of another type or out of bounds, or the heads do not divide the width.
    """
    for name, value in vars(sizes).items():
        default, most, words = getattr(type(sizes), name), _MOST.get(name), _WORDS.get(name)
        good = isinstance(value, type(default)) or (name == "text" and value is None)
        if most is not None:
            good = type(value) is int and (0 if name == "eos_id" else 1) <= value <= most
        if not good or (words and value not in words):
            rule = f"1 to {most}" if most else " or ".join(words or (f"a {type(default).__name__}",))
            raise WeightsError(f"{name} is {reprlib.repr(value)}; it must be {rule}")
    if hasattr(sizes, "heads") and sizes.width % sizes.heads:
        raise WeightsError(f"width {sizes.width} is not a multiple of {sizes.heads} heads; pass the number of heads")


def check_grid(size: tuple[int, int], patch: int) -> None:
    """Check that (height, width) in pixels holds at least one patch, and no more than a tower can have.

    Raises `WeightsError`: it does not.
    """
    pair = isinstance(size, (list, tuple)) and len(size) == 2
    if not pair or not all(type(side) is int and 0 < side <= _SIDE for side in size):
        raise WeightsError(f"image_size is {reprlib.repr(size)}; it must be (height, width), 1 to {_SIDE} pixels each")
    if min(size) < patch:
        raise WeightsError(f"image size {size} is smaller than one {patch}x{patch} patch; choose a larger one")
    if (size[0] // patch) * (size[1] // patch) > _PATCHES:
        raise WeightsError(
            f"image size {size} has more than {_PATCHES} patches of {patch} pixels; choose a smaller one"
        )


def check_whole(size: tuple[int, int], patch: tuple[int, int]) -> None:
    """Check that an input size (height, width) in pixels is whole patches of (rows, columns) pixels each.

    Raises `WeightsError`: it is not, and the rest of every frame would not be seen; with the nearest sizes that are.
    """
    for side, step in zip(size, patch):
        if side % step:
            below = side // step * step
            near = f"{below} or {below + step}" if below else f"{step}"
            raise WeightsError(f"image size {side} is no multiple of this backbone's {step}-pixel patches; use {near}")
