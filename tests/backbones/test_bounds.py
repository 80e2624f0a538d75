"""What a file says of sizes is checked before anything is built from it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stillmotion.backbones.config import CLIPConfig, VisionConfig
from stillmotion.errors import WeightsError
from tests.conftest import tiny_config, tiny_state

DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]
ODD = [0, -1, 10**9, 10**4000, 2.5, float("nan"), True, None, "12", [12], {}, DEEP]


def refused(match: str, call: Callable[[], object]) -> None:
    started = time.perf_counter()
    with pytest.raises(WeightsError, match=match) as error:
        call()
    assert time.perf_counter() - started < 1
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_good_sizes_pass() -> None:
    for config in (tiny_config(), tiny_config(text=False), CLIPConfig(), CLIPConfig.published("ViT-bigG-14")):
        assert CLIPConfig.from_dict(config.to_dict(), "a.safetensors") == config


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("part", ["vision", "text"])
def test_every_number_of_a_tower_is_checked(part: str, value: Any) -> None:
    raw = tiny_config().to_dict()
    numbers = [name for name, number in raw[part].items() if type(number) is int]
    assert len(numbers) >= 5
    for name in numbers:
        if (name, value) == ("eos_id", 0):
            continue
        refused(
            f"a.safetensors has damaged sizes .*{name}",
            lambda n=name: CLIPConfig.from_dict(raw | {part: raw[part] | {n: value}}, "a.safetensors"),
        )


@pytest.mark.parametrize(
    "value", [*ODD, [32], [32, 32, 32], [32, "32"], [7, 32], [32, 8200], [10**30, 32], "32"], ids=range(19)
)
def test_image_sizes_are_checked(value: Any) -> None:
    raw = tiny_config().to_dict()
    refused("damaged sizes", lambda: CLIPConfig.from_dict(raw | {"vision": raw["vision"] | {"image_size": value}}))


def test_what_else_a_description_can_say() -> None:
    raw = tiny_config().to_dict()
    cases = [{}, {"vision": None}, {"vision": []}, {"text": []}, {"text": 3}, {"embed_dim": 0}, {"activation": "relu"}]
    cases += [{"tokenizer": 3}, {"activation": None}, {"more": 1}, {"vision": raw["vision"] | {"more": 1}}]
    cases += [{"vision": raw["vision"] | change} for change in ({"heads": 3}, {"pool": "max"}, {"ln_pre": 1})]
    for case in cases:
        refused("damaged sizes", lambda c=case: CLIPConfig.from_dict(raw | c if c else c))
    for whole in (None, [], "x", 3):
        refused("damaged sizes", lambda w=whole: CLIPConfig.from_dict(w))
    refused("has more than 65536 patches of 1 pixels", lambda: VisionConfig(patch_size=1, image_size=(8192, 8192)))
    refused("width 768 is not a multiple of 7 heads", lambda: VisionConfig(heads=7))


def test_blocks_are_counted_by_their_different_numbers() -> None:
    state = tiny_state()
    sizes = {"vision_heads": 2, "text_heads": 2}
    assert CLIPConfig.from_state(state, **sizes).vision.layers == 3
    for stem in ("visual.transformer.resblocks.", "transformer.resblocks."):
        for number in ("999999", "10" * 3000, "x", "-1", "03", ""):
            more = state | {f"{stem}{number}.ln_1.bias": torch.zeros(1)}
            refused("must be numbered from 0 without a gap", lambda m=more: CLIPConfig.from_state(m, **sizes))
        without = {k: v for k, v in state.items() if not k.startswith(f"{stem}1.")}
        if stem.startswith("visual"):
            refused("must be numbered from 0", lambda w=without: CLIPConfig.from_state(w, **sizes))
        many = state | {f"{stem}{i}.ln_1.bias": torch.zeros(1) for i in range(300)}
        refused("layers is 300; it must be 1 to 200", lambda m=many: CLIPConfig.from_state(m, **sizes))


def test_incomplete_states_name_what_is_absent() -> None:
    state = tiny_state()
    shows = ["visual.conv1.weight", "visual.positional_embedding", "visual.transformer.resblocks.0.mlp.c_fc.weight"]
    for name in [*shows, "transformer.resblocks.0.mlp.c_fc.weight"]:
        refused(name, lambda n=name: CLIPConfig.from_state({k: v for k, v in state.items() if k != n}, vision_heads=2))
        for shape in ((), (3,), (0, 0), (1, 2, 3), (0, 0, 0, 0)):
            changed: dict[str, Tensor] = state | {name: torch.zeros(shape)}
            refused(name, lambda c=changed: CLIPConfig.from_state(c, vision_heads=2, text_heads=2))
    refused("width 64 is not a multiple of 7 heads", lambda: CLIPConfig.from_state(state, vision_heads=7))
    table = state | {"token_embedding.weight": torch.zeros(3)}
    refused("token_embedding.weight", lambda: CLIPConfig.from_state(table, vision_heads=2))


def test_open_clip_configurations() -> None:
    good = {"embed_dim": 32, "vision_cfg": {"width": 64, "layers": 2}, "text_cfg": {"width": 64, "heads": 2}}
    assert CLIPConfig.from_open_clip(good).vision.heads == 1
    for part in ("vision_cfg", "text_cfg"):
        for odd in ([1], 3, "x", None):
            refused(r"\w", lambda p=part, o=odd: CLIPConfig.from_open_clip(good | {p: o}))
        for name in ("width", "layers", "head_width", "mlp_ratio", "heads", "image_size", "patch_size", "vocab_size"):
            for value in (0, -1, 10**9, "x", [1], {}, float("nan"), float("inf")):
                raw = good | {part: good[part] | {name: value}}
                try:
                    CLIPConfig.from_open_clip(raw, "folder")
                except WeightsError as error:
                    assert "\n" not in str(error)
                else:  # a name of the other tower, which nobody reads
                    assert name in (
                        ("heads", "vocab_size") if part == "vision_cfg" else ("head_width", "image_size", "patch_size")
                    ), (part, name, value)
    refused("damaged", lambda: CLIPConfig.from_open_clip({k: v for k, v in good.items() if k != "embed_dim"}))
