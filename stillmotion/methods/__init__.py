"""One file per method, and the one table of them."""

from stillmotion.methods.base import Method
from stillmotion.methods.evl import EVL
from stillmotion.methods.linear_probe import LinearProbe
from stillmotion.methods.vificlip import ViFiCLIP
from stillmotion.methods.zero_shot import ZeroShot

METHODS: dict[str, type[Method]] = {
    "zero_shot": ZeroShot,
    "linear_probe": LinearProbe,
    "vificlip": ViFiCLIP,
    "evl": EVL,
}

__all__ = ["EVL", "METHODS", "LinearProbe", "Method", "ViFiCLIP", "ZeroShot"]
