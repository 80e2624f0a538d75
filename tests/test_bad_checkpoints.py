"""What cannot be a checkpoint of a method is refused in one line with the value, the rule and the fix."""

from itertools import permutations
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import stillmotion
from stillmotion.errors import StillmotionError, WeightsError
from tests.golden.recipe import weight
from tests.methods import test_a5, test_actionclip, test_evl, test_vificlip
from tests.methods.golden_clip import clip_state
from tests.methods.test_xclip import GOLDEN as XCLIP

CLIP = clip_state(1)


def xclip() -> dict[str, torch.Tensor]:
    return CLIP | {k: weight(k, tuple(s), 1) for k, s in XCLIP["shapes"].items()}


OFFICIAL = {
    "vificlip": lambda: test_vificlip.as_release(CLIP),
    "xclip": xclip,
    "actionclip": lambda: test_actionclip.checkpoint(CLIP, "Transf"),
    "a5": lambda: test_a5.checkpoint(clip_state(55, test_a5.SHAPES), {}),
    "evl": lambda: test_evl.golden_checkpoint(test_evl.GOLDEN["cases"]["full"]),
}
SIZES = {"evl": {"image_size": (48, 64), "vision_heads": 4, "heads": 2}}


def read(method: str, checkpoint: object, **more: object) -> stillmotion.VideoCLIP:
    clip = test_evl.golden_trunk() if method == "evl" else CLIP
    return stillmotion.from_official(method, checkpoint, clip=clip, **SIZES.get(method, {}), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", OFFICIAL)
def test_good_ones_load(method: str) -> None:
    assert isinstance(read(method, OFFICIAL[method]()), stillmotion.VideoCLIP)


@pytest.mark.parametrize(("method", "other"), list(permutations(OFFICIAL, 2)))
def test_of_another_method(method: str, other: str) -> None:
    with pytest.raises(StillmotionError) as error:
        read(method, OFFICIAL[other]())
    assert "\n" not in str(error.value)


def flat(method: str) -> dict[str, torch.Tensor]:
    from stillmotion.weights.readers import open_wrappers

    return open_wrappers(OFFICIAL[method](), {"fusion_model_state_dict": "fusion."})


@pytest.mark.parametrize("method", OFFICIAL)
def test_missing_and_extra_keys_are_listed(method: str) -> None:
    state = flat(method)
    name = next(k for k in state if k.endswith(("ln_2.bias", "norm2.bias")))
    with pytest.raises(WeightsError, match=rf"missing .*{name.rsplit('.', 2)[-1]}"):
        read(method, {k: v for k, v in state.items() if k != name})
    extra = name.replace(".bias", ".surprise")
    with pytest.raises(WeightsError, match="surprise"):
        read(method, state | {extra: torch.zeros(3)})


@pytest.mark.parametrize("method", OFFICIAL)
def test_another_size(method: str) -> None:
    state = flat(method)
    name = next(k for k in state if k.endswith(("ln_2.bias", "norm2.bias")))
    with pytest.raises(WeightsError, match=r"misshapen: .* is \(7,\), expected"):
        read(method, state | {name: torch.zeros(7)})


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated(tmp_path: Path, cut: float, suffix: str) -> None:
    path = tmp_path / f"xclip{suffix}"
    if suffix == ".pth":
        torch.save({"model": xclip()}, path)
    else:
        save_file(xclip(), path)
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(WeightsError) as error:
        stillmotion.from_official("xclip", path)
    assert "\n" not in str(error.value) and path.name in str(error.value)


def test_dictionaries_that_hold_themselves_or_no_tensors(tmp_path: Path) -> None:
    ring: dict[str, object] = {}
    ring["model"] = ring
    torch.save(ring, tmp_path / "ring.pth")
    torch.save({"model_state_dict": CLIP, "fusion_model_state_dict": [1]}, tmp_path / "list.pth")
    torch.save({"model_state_dict": CLIP, "fusion_model_state_dict": {}}, tmp_path / "mean.pth")
    with pytest.raises(WeightsError, match=r"ring\.pth"):
        stillmotion.from_official("actionclip", tmp_path / "ring.pth")
    with pytest.raises(WeightsError, match=r"list\.pth has a list as its fusion_model_state_dict, not tensors"):
        stillmotion.from_official("actionclip", tmp_path / "list.pth")  # its head would be dropped without a word
    whole = stillmotion.from_official("actionclip", tmp_path / "mean.pth")
    assert not list(whole.temporal.parameters())


def test_class_names_that_do_not_fit_the_head() -> None:
    with pytest.raises(WeightsError, match="3 class names for a head of 10 classes; give one name per class"):
        read("evl", OFFICIAL["evl"](), class_names=["a", "b", "c"])


def test_sizes_that_the_method_does_not_have() -> None:
    with pytest.raises(WeightsError, match="xclip has no size 'prefix'"):
        read("xclip", xclip(), prefix=3)


def test_prompts_longer_than_the_context() -> None:
    model = read("actionclip", OFFICIAL["actionclip"](), num_frames=4)
    with pytest.raises(StillmotionError, match="tokens, at most 75 fit; shorten it"):
        model.prompt(["run " * 74])


def test_frames_unlike_the_position_table() -> None:
    model = read("xclip", xclip())
    with pytest.raises(StillmotionError, match=r"positions for 4 frames, the video has 5; sample 4 frames, or call"):
        model.classify(torch.randn(1, 5, 3, 64, 64), torch.randn(2, 64))
    with pytest.raises(StillmotionError, match=r"frames are 32x32 pixels, this model reads 64x64"):
        model.classify(torch.randn(1, 4, 3, 32, 32), torch.randn(2, 64))


def test_a_pickled_configuration_is_read_past_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X-CLIP and ViFi-CLIP pickle a yacs node beside their weights; yacs is not needed."""
    import sys
    import types

    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module = types.ModuleType("yacs.config")
    module.CfgNode = node  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    torch.save({"model": xclip(), "config": node(A=node(B=1)), "epoch": 3}, tmp_path / "x.pth")
    monkeypatch.delitem(sys.modules, "yacs.config")
    monkeypatch.delitem(sys.modules, "yacs")
    assert stillmotion.from_official("xclip", tmp_path / "x.pth").prompt(["run"]).shape == (1, 77)
