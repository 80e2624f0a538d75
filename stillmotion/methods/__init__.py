"""One file per method, and the one table of them."""

from stillmotion.methods.attentive_probe import AttentiveProbe
from stillmotion.methods.base import Method
from stillmotion.methods.evl import EVL
from stillmotion.methods.linear_probe import LinearProbe
from stillmotion.methods.step import Step
from stillmotion.methods.vificlip import ViFiCLIP
from stillmotion.methods.zero_shot import ZeroShot

METHODS: dict[str, type[Method]] = {
    "zero_shot": ZeroShot,
    "linear_probe": LinearProbe,
    "vificlip": ViFiCLIP,
    "evl": EVL,
    "attentive_probe": AttentiveProbe,
    "step": Step,
}

__all__ = ["EVL", "METHODS", "AttentiveProbe", "LinearProbe", "Method", "Step", "ViFiCLIP", "ZeroShot"]
