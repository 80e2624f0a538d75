"""Every switch changes exactly what it says: one setting of a cell, and the numbers that follow, and nothing else."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stillmotion.bench.presets import drop_last, preset, sided
from stillmotion.data.video import open_video
from stillmotion.recipes import find
from tests.bench.small import CLASSES, Json, bench, cell, check_row, refused, save_rows, split, table


def flat(content: Json, before: str = "") -> Json:
    found: Json = {}
    for name, value in content.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def changed(one: Json, other: Json) -> Json:
    """What the other has in another way, but the places of its files."""
    a, b = flat(one), flat(other)
    assert a.keys() == b.keys()
    return {name: value for name, value in b.items() if value != a[name] and name not in ("data.data", "place.out")}


def zero_shot(clips: Path, clip: Path, out: Path, *words: object) -> tuple[Json, Json, list[list[float]]]:
    """A table of what needs no training."""
    bench("zero-shot", "zero_shot", "--data", clips, "--backbone", clip, "--out", out, *words)
    line, config, predictions = cell(out, f"zero_shot_seed-0_{clips.name}")
    check_row(line, predictions)
    return line, config, predictions.probabilities.tolist()


LOGITS = {"recipe.sampling.average": "logits"}


@pytest.mark.parametrize(
    ("words", "setting", "numbers"),
    [
        (("--statistics", "imagenet"), {"recipe.statistics": "imagenet"}, True),
        (("--statistics", "bgr"), {"recipe.statistics": "bgr"}, True),
        (("--resize", "bilinear"), {"recipe.resize": "bilinear"}, True),
        (("--short-side", 37), {"recipe.short_side": 37}, True),
        (("--flip", 0.5), {"recipe.flip": 0.5}, False),  # it is of training clips, and nothing is trained
        (("--views", 3), {"recipe.sampling.views": 3}, True),
        (("--crops", 3), {"recipe.sampling.crops": 3}, True),
        (("--average", "logits"), LOGITS, False),  # of one view there is no mean
        (("--views", 3, "--average", "logits"), {"recipe.sampling.views": 3, **LOGITS}, True),
        (("--templates", "a video of {}"), {"recipe.method.templates": ["a video of {}"]}, True),
        (("--clean-names",), {"data.clean_names": True}, True),
        (("--max-bad", 0.5), {"data.max_bad": 0.5}, False),
        (("--drop-last", 1), {}, False),
        (("--allow-overlap",), {}, False),
        (("--preset", "strict"), {"data.clean_names": True}, True),
        (("--preset", "strict", "--no-clean-names"), {}, False),
    ],
    ids=lambda x: "-".join(map(str, x)).strip("-") if isinstance(x, tuple) else "",
)  # fmt: skip
def test_one_switch(
    words: tuple[object, ...], setting: Json, numbers: bool, clips: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    if "--flip" in words:
        words = (*words, "--cached-views", "1")
        setting = {**setting, "recipe.cached_views": 1}
    _, before, p = zero_shot(clips, tiny_clip, tmp_path / "a")
    line, after, q = zero_shot(clips, tiny_clip, tmp_path / "b", *words)
    assert changed(before, after) == setting
    assert (np.abs(np.subtract(p, q)).max() > 1e-6) == numbers
    assert line["videos"] == 8 and "note" not in line


def test_three_by_ten_views_and_the_like(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """The views that are read, by the items in the feature cache: temporal times spatial."""
    cache = tmp_path / "cache"
    for views, crops in ((1, 1), (1, 3), (4, 3), (10, 3)):
        zero_shot(clips, tiny_clip, tmp_path / f"{views}x{crops}", "--views", views, "--crops", crops, "--cache", cache)
        items = {name for index in cache.rglob("shard-*.json") for name in json.loads(index.read_text())["items"]}
        assert (
            len([name for name in items if f"of{views}-" in name and name.endswith(f"of{crops}")]) == 8 * views * crops
        )


def test_drop_last_leaves_out_the_last_and_names_it(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    _, before, p = zero_shot(clips, tiny_clip, tmp_path / "a")
    bench("zero-shot", "zero_shot", "--data", clips, "--backbone", tiny_clip, "--drop-last", 3, "--out", tmp_path / "b")
    line, after, predictions = cell(tmp_path / "b", f"zero_shot_seed-0_{clips.name}")
    check_row(line, predictions)
    assert changed(before, after) == {}
    assert np.allclose(predictions.probabilities, p[:6]), "the others are as they were"
    lost = [e.path for e in split(tmp_path / "a", f"seed-0_{clips.name}").entries][6:]
    assert line["note"] == f"drop-last 3: not scored: {', '.join(lost)}"
    assert table(tmp_path / "b")["rows"][0]["videos"] == 6


def test_drop_last_of_all(clips: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("zero-shot", "zero_shot", "--data", clips, "--backbone", tiny_clip, "--out", tmp_path / "out")
    assert "drop-last 9 leaves none of the 8 test clips" in refused(capsys, *words, "--drop-last", 9)
    assert not (tmp_path / "out" / "table.json").exists()


def test_flip_is_of_training_alone(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    words = ("supervised", "vificlip", "--data", clips, "--backbone", tiny_clip, "--epochs", 3, "--warmup", 0,
             "--lr", 1e-3)  # fmt: skip
    bench(*words, "--out", tmp_path / "a")
    bench(*words, "--flip", 1.0, "--out", tmp_path / "b")
    (_, before, one), (_, after, other) = (cell(tmp_path / name, "vificlip_seed-0") for name in "ab")
    assert changed(before, after) == {"recipe.flip": 1.0}
    assert (one.probabilities - other.probabilities).abs().max() > 1e-6
    assert one.paths and [Path(p).name for p in one.paths] == [Path(p).name for p in other.paths]


def test_pixels_by_hand(clips: Path) -> None:
    """What statistics, resize and short side do to a frame."""
    frame = torch.full((1, 3, 32, 32), 0, dtype=torch.uint8)
    frame[:, 0], frame[:, 1], frame[:, 2] = 255, 51, 0
    recipe = find("zero_shot")
    pixels = replace(recipe.preprocess(), size=(32, 32))

    def read(**fields: Any) -> list[float]:
        how = replace(recipe, **fields).preprocess(pixels)
        return how.crop(how.scale(frame, 1), 1)[0, 0, :, 16, 16].tolist()

    clip = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    assert read() == pytest.approx([(x - m) / s for x, m, s in zip((1, 0.2, 0), *clip)], abs=1e-4)
    net = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert read(statistics="imagenet") == pytest.approx([(x - m) / s for x, m, s in zip((1, 0.2, 0), *net)], abs=1e-4)
    assert read(statistics="bgr") == pytest.approx([(x - m) / s for x, m, s in zip((0, 0.2, 1), *clip)], abs=1e-4)
    picture = open_video(next(clips.rglob("*.mp4"))).frames([0])
    plain, small, rough = (replace(recipe, **f).preprocess(pixels)  # type: ignore[arg-type]
                           for f in ({}, {"short_side": 40}, {"resize": "bilinear"}))  # fmt: skip
    assert (plain.scale(picture, 1).shape[-2:], small.scale(picture, 1).shape[-2:]) == ((32, 48), (40, 60))
    assert changed(asdict(plain), asdict(rough)) == {"interpolation": "bilinear", "antialias": False}


RELEASE = {
    "vificlip": {"statistics": "imagenet", "resize": "bilinear", "flip": 0.5, "short_side": 256},
    "xclip": {"statistics": "imagenet", "resize": "bilinear", "flip": 0.5, "short_side": 256},
    "actionclip": {"flip": 0.5, "short_side": 256},
    "a5": {"statistics": "bgr"},
    "evl": {"resize": "bilinear"},
    "zero_shot": {"statistics": "imagenet", "resize": "bilinear", "short_side": 256},
    "linear_probe": {},
}
STRICT = {"statistics": "weights", "resize": "weights", "short_side": None}


@pytest.mark.parametrize("name", RELEASE)
def test_presets_set_what_they_say_and_nothing_else(name: str) -> None:
    recipe = find(name)
    before = recipe.to_dict()
    wanted = {f"{k}": v for k, v in RELEASE[name].items() if before[k] != v}
    assert changed(before, preset(recipe, "release", ("run", "walk"), 224).to_dict()) == wanted
    odd = replace(recipe, statistics="bgr", resize="bilinear", short_side=300, flip=0.0)
    assert changed(odd.to_dict(), preset(odd, "strict", ("run", "walk"), 224).to_dict()) == STRICT
    for field, value in {"statistics": "bgr", "resize": "weights", "short_side": 300}.items():
        mine = replace(recipe, **{field: value})
        for which in ("release", "strict"):
            assert getattr(preset(mine, which, ("run",), 224, given=(field,)), field) == value, "given options win"
    assert drop_last(recipe, None) == drop_last(recipe, "strict") == 1
    assert drop_last(recipe, "release") == (2 if name in ("vificlip", "xclip", "zero_shot") else 1)


def test_strict_does_not_mirror_where_sides_are_classes() -> None:
    recipe = replace(find("vificlip"), flip=0.5)
    assert preset(recipe, "strict", ("run", "walk"), 224).flip == 0.5
    assert preset(recipe, "strict", ("turn_left", "turn_right"), 224).flip == 0.0
    assert preset(recipe, "strict", ("turn_left", "turn_right"), 224, given=("flip",)).flip == 0.5
    assert preset(recipe, "release", ("turn_left", "turn_right"), 224).flip == 0.5
    assert sided(("Pulling something from left to right",)) and not sided(("leftovers", "bright"))


def test_a_preset_of_a_table(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    _, before, _ = zero_shot(clips, tiny_clip, tmp_path / "a")
    _, after, _ = zero_shot(clips, tiny_clip, tmp_path / "b", "--preset", "release", "--resize", "weights")
    assert changed(before, after) == {"recipe.statistics": "imagenet", "recipe.short_side": 37}, "8/7 of 32; given wins"


def test_text_features_are_sliced_by_the_halves(clips: Path, tiny_image_tower: Path, tmp_path: Path) -> None:
    """Embeddings that are unlike for every class: each half gets its own rows, in the order of its classes."""
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(4, 32), dim=-1)
    file = save_rows(tmp_path / "text.npy", rows)
    bench("base-to-novel", "zero_shot", "--data", clips, "--backbone", tiny_image_tower, "--shots", 1, "--seeds", 0,
          "--text-features", file, "--out", tmp_path / "out")  # fmt: skip
    for part, places in (("base", [1, 3]), ("novel", [0, 2])):  # run and walk; JumpUp and sit_down
        written = np.load(tmp_path / "out" / "splits" / f"1-shots_seed-0_{part}.npy")
        assert np.allclose(written, rows[places].numpy())
        line, config, predictions = cell(tmp_path / "out", f"zero_shot_1-shots_seed-0_{part}")
        check_row(line, predictions)
        assert predictions.classes == tuple(list(CLASSES)[i] for i in places)
        assert Path(config["data"]["text_features"]).name == f"1-shots_seed-0_{part}.npy"
