"""One file per method, and the one table of them."""

from dataclasses import fields
from typing import Any

from stillmotion.errors import StillmotionError
from stillmotion.methods.a5 import A5
from stillmotion.methods.actionclip import ActionCLIP
from stillmotion.methods.attentive_probe import AttentiveProbe
from stillmotion.methods.average import Average
from stillmotion.methods.base import Method
from stillmotion.methods.change_probe import ChangeProbe
from stillmotion.methods.evl import EVL
from stillmotion.methods.linear_probe import LinearProbe
from stillmotion.methods.step import Step
from stillmotion.methods.vificlip import ViFiCLIP
from stillmotion.methods.xclip import XCLIP
from stillmotion.methods.zero_shot import ZeroShot

METHODS: dict[str, type[Method]] = {
    "zero_shot": ZeroShot,
    "linear_probe": LinearProbe,
    "vificlip": ViFiCLIP,
    "evl": EVL,
    "attentive_probe": AttentiveProbe,
    "step": Step,
    "change_probe": ChangeProbe,
    "xclip": XCLIP,
    "actionclip": ActionCLIP,
    "a5": A5,
}
ASSEMBLED: dict[str, type[Method]] = {"average": Average}
"""What is made of trained models, and is not trained itself; files know it by these names."""


def name_of(method: Method) -> str:
    """The name of a method in `METHODS` or `ASSEMBLED`, by which files know it.

    Raises `StillmotionError`: it is not there.
    """
    for name, kind in (METHODS | ASSEMBLED).items():
        if kind is type(method):
            return name
    kind_name = type(method).__name__
    raise StillmotionError(
        f"{kind_name} is not in stillmotion.methods.METHODS, so files cannot name it; "
        f"add it in the module that defines it: METHODS['my_method'] = {kind_name}"
    )


def describe(method: Method) -> dict[str, Any]:
    """A method's name and fields, and those of its parts, as files hold them."""
    values = {f.name: getattr(method, f.name) for f in fields(method)}
    parts = {"parts": [describe(part) for part in values["parts"]]} if isinstance(method, Average) else {}
    return {"name": name_of(method), **values, **parts}


__all__ = [
    "A5", "ASSEMBLED", "EVL", "METHODS", "XCLIP", "ActionCLIP", "AttentiveProbe", "Average", "ChangeProbe",
    "LinearProbe", "Method", "Step", "ViFiCLIP", "ZeroShot", "describe", "name_of",
]  # fmt: skip
