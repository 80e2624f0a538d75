"""Model folders of another shape than Hugging Face's or open_clip's: one line, and no file but the folder's own."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from stillmotion.backbones.clip_files import clip_config
from stillmotion.backbones.load import load_backbone
from stillmotion.errors import WeightsError
from stillmotion.weights import hub
from stillmotion.weights.folders import folder_pixels, folder_tokenizer, read_object, weight_files

OPEN_CLIP = {
    "model_cfg": {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3},
        "text_cfg": {"width": 64, "layers": 2, "heads": 1},
    },
    "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1], "interpolation": "bilinear"},
}
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def folder(tmp_path: Path, tiny_clip: Path) -> Path:
    """A good one, with everything that is read of it."""
    save_file(load_file(tiny_clip), tmp_path / "part.safetensors")
    index = {"weight_map": dict.fromkeys(load_file(tiny_clip), "part.safetensors")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "open_clip_config.json").write_text(json.dumps(OPEN_CLIP))
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": {"num_attention_heads": 1}, "text_config": {}}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    return tmp_path


def refused(folder: Path, file: str, match: str = r"\w", call: Callable[[Path], object] | None = None) -> None:
    started = time.perf_counter()
    with pytest.raises(WeightsError, match=match) as error:
        (call or (lambda path: load_backbone(str(path))))(folder)
    assert time.perf_counter() - started < 5
    message = str(error.value)
    assert "\n" not in message and len(message) < 600 and file in message, message


def test_a_good_one_loads(folder: Path) -> None:
    weights = load_backbone(str(folder))
    assert weights.backbone.pixels.mean == (0.1, 0.2, 0.3) and weights.backbone.pixels.interpolation == "bilinear"
    (folder / "open_clip_config.json").unlink()
    assert load_backbone(str(folder)).backbone.pixels.std == (0.5, 0.5, 0.5)


FILES = ["config.json", "preprocessor_config.json", "open_clip_config.json", "model.safetensors.index.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("text", ["[1]", "null", "3", '"x"', "{", "", DEEP, '{"a":' * 100_000, "1" * 5000, "\ud800"])
def test_json_of_another_shape(folder: Path, file: str, text: str) -> None:
    (folder / file).write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(folder, file)


@pytest.mark.parametrize("file", FILES)
def test_files_that_are_none(folder: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, which would wait for ever, and a link to an endless device count as absent; a large one is refused."""
    (folder / "model.safetensors").hardlink_to(folder / "part.safetensors")
    (folder / "large.json").write_text(json.dumps({"a": "x" * 1000}))
    monkeypatch.setattr("stillmotion.weights.folders.JSON_BYTES", 500)
    refused(folder, "large.json", "more than", lambda path: read_object(path / "large.json"))
    monkeypatch.undo()
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir):
        (folder / file).unlink() if (folder / file).is_file() else None
        make(folder / file)
        assert clip_config(load_backbone(str(folder))).vision.layers == 3
        (folder / file).rmdir() if (folder / file).is_dir() else (folder / file).unlink()


ODD: list[Any] = [
    None,
    3,
    "x",
    [1],
    {},
    [None] * 3,
    ["1"] * 3,
    [0.5] * 2,
    [True] * 3,
    [float("nan")] * 3,
    [1e300] * 3,
    [10**4000] * 3,
]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(
    ("file", "keys"),
    [("preprocessor_config.json", ("image_mean", "image_std")), ("open_clip_config.json", ("mean", "std"))],
)
def test_pixel_statistics(folder: Path, file: str, keys: tuple[str, str], value: Any) -> None:
    for key in keys:
        content = {key: value}
        (folder / file).write_text(json.dumps({"preprocess_cfg": content} if key in ("mean", "std") else content))
        if value is None:
            assert folder_pixels(folder).get("mean") in (None, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
        else:
            refused(folder, file, f"{key} is .*expected three numbers", folder_pixels)
    for zero in ([0, 0, 0], [0.5, 0.5, -0.5]):
        content = {keys[1]: zero}
        (folder / file).write_text(json.dumps({"preprocess_cfg": content} if keys[1] == "std" else content))
        refused(folder, file, "expected three numbers above zero", folder_pixels)


@pytest.mark.parametrize("heads", [0, -1, 10**9, 2.5, "2", [2], {}, True, 7])
def test_heads_of_a_hugging_face_folder(folder: Path, heads: Any) -> None:
    (folder / "open_clip_config.json").unlink()
    for tower in ("vision_config", "text_config"):
        (folder / "config.json").write_text(json.dumps({tower: {"num_attention_heads": heads}}))
        refused(folder, "config.json" if heads != 7 else "heads")
    for odd in (None, 3, [1], "x"):
        (folder / "config.json").write_text(json.dumps({"vision_config": odd}))
        refused(folder, "config.json", "vision_config is a .*, not a JSON object")


def test_layers_that_would_take_all_day(folder: Path) -> None:
    for key, value in (("layers", 10**9), ("width", 10**6), ("image_size", 10**6), ("image_size", [10**6] * 2)):
        model = OPEN_CLIP["model_cfg"]
        changed = {"model_cfg": model | {"vision_cfg": model["vision_cfg"] | {key: value}}}
        (folder / "open_clip_config.json").write_text(json.dumps(changed))
        refused(folder, key)


@pytest.mark.parametrize(
    "name", ["../part.safetensors", "/etc/passwd", "a/b.bin", "..", ".", "", "a\0b", "a\nb", "a\\b", 3, None, ["x"], {}]
)
def test_names_of_an_index_stay_in_its_folder(folder: Path, name: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    refused(folder, "model.safetensors.index.json", "not a file of its folder", weight_files)
    assert not hub._complete(folder)


def test_maps_of_an_index(folder: Path) -> None:
    for content in ({"weight_map": [1]}, {"weight_map": "x"}, {"weight_map": None}, {}, {"weight_map": {}}):
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))
        refused(folder, folder.name)
        assert not hub._complete(folder)


def test_a_snapshot_is_complete_when_all_of_it_is_there(folder: Path) -> None:
    assert hub._complete(folder)
    (folder / "preprocessor_config.json").rename(folder / "x.json")
    assert not hub._complete(folder)
    (folder / "x.json").rename(folder / "preprocessor_config.json")
    (folder / "part.safetensors").unlink()
    assert not hub._complete(folder)


def test_which_tokenizer_a_folder_has(folder: Path) -> None:
    assert folder_tokenizer(folder) == "ViT-B-16"
    for change in ({"hf_tokenizer_name": "x"}, {"tokenizer_kwargs": {"clean": "lower"}}, {"context_length": 32}):
        model = OPEN_CLIP["model_cfg"]
        (folder / "open_clip_config.json").write_text(
            json.dumps({"model_cfg": model | {"text_cfg": model["text_cfg"] | change}})
        )
        assert folder_tokenizer(folder) == f"local-dir:{folder.resolve()}"
