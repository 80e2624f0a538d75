"""The authors' checkpoints, there and back: one file per release, and the one table of them."""

from stillmotion.releases import a5, actionclip, clip, evl, vificlip, xclip
from stillmotion.releases.base import Release

RELEASES: dict[str, Release] = {
    "evl": evl.RELEASE,
    "vificlip": vificlip.RELEASE,
    "xclip": xclip.RELEASE,
    "actionclip": actionclip.RELEASE,
    "a5": a5.RELEASE,
    "zero_shot": clip.RELEASE,
}
