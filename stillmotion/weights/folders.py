"""Model folders of Hugging Face and open_clip: their JSON, checked, and the files that hold the tensors."""

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from stillmotion.errors import WeightsError
from stillmotion.weights.readers import read_state

JSON_BYTES = 32 << 20
_SINGLE = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Read an object of a JSON file, or one in it by its keys; empty where there is no such file, or no such key.

    Raises `WeightsError`: the file cannot be read, or holds something else there.
    """
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > JSON_BYTES:
            raise ValueError(f"more than {JSON_BYTES >> 20} MB")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not readable as JSON ({str(error)[:120]}); fetch it again") from error
    for at, key in enumerate(("", *keys)):
        content = content.get(key, {}) if at else content
        if not isinstance(content, dict):
            place = f"{path}: {key}" if at else str(path)
            raise WeightsError(f"{place} is a {type(content).__name__}, not a JSON object; fetch it again")
    return content


def read_sharded(folder: Path) -> dict[str, Tensor]:
    """Read the weights of a Hugging Face model folder, in one file or several.

    Raises `WeightsError`: there are none, or they cannot be read.
    """
    state: dict[str, Tensor] = {}
    for file in weight_files(folder):
        state |= read_state(file)
    return state


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of a Hugging Face or open_clip model folder.

    Raises `WeightsError`: there are none, or the index names something else than files of the folder.
    """
    for name in _SINGLE:
        if (folder / name).is_file():
            return [folder / name]
    for index in (folder / name for name in _INDEXES):
        names = list(read_object(index, "weight_map").values())
        for name in names:
            plain = isinstance(name, str) and Path(name).name == name and name.isprintable() and "\\" not in name
            if not plain or not name.endswith((".safetensors", ".bin")):
                raise WeightsError(f"{index} names {reprlib.repr(name)}, not a file of its folder; fetch it again")
        if names:
            return [folder / name for name in sorted(set(names))]
    raise WeightsError(f"folder {folder} holds no model.safetensors or pytorch_model.bin; pass a CLIP model's folder")


def folder_sizes(path: Path) -> dict[str, Any]:
    """Sizes that a Hugging Face folder's `config.json` says and its tensors do not: activation and heads.

    Raises `WeightsError`: the file is damaged, or says what cannot be.
    """
    config = path / "config.json"
    vision, text = read_object(config, "vision_config"), read_object(config, "text_config")
    sizes: dict[str, Any] = {"activation": "gelu" if vision.get("hidden_act") == "gelu" else "quick_gelu"}
    for name, tower in (("vision_heads", vision), ("text_heads", text)):
        heads = tower.get("num_attention_heads")
        if heads is not None and (type(heads) is not int or not 0 < heads <= 1024):
            raise WeightsError(f"{config}: num_attention_heads is {reprlib.repr(heads)}, not 1 to 1024; fetch it again")
        sizes |= {name: heads} if heads else {}
    return sizes


def folder_pixels(path: Path) -> dict[str, Any]:
    """Pixel statistics and interpolation that a Hugging Face or open_clip folder says.

    Raises `WeightsError`: a file is damaged, or says what cannot be.
    """
    processor, open_clip = path / "preprocessor_config.json", path / "open_clip_config.json"
    theirs = pixel_settings(read_object(processor), str(processor), "image_")
    return theirs | pixel_settings(read_object(open_clip, "preprocess_cfg"), str(open_clip))


def folder_tokenizer(path: Path) -> str:
    """What open_clip calls the tokenizer of its model folder: OpenAI's, or where that does not fit the folder's own."""
    text = read_object(path / "open_clip_config.json", "model_cfg", "text_cfg")
    own = any(text.get(k) for k in ("hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode"))
    return f"local-dir:{path.resolve()}" if own or text.get("context_length", 77) != 77 else "ViT-B-16"


def pixel_settings(settings: Mapping[str, Any], source: str, prefix: str = "") -> dict[str, Any]:
    """What settings say of `mean`, `std` and `interpolation`, their names after a prefix.

    Means are three finite numbers, deviations are above zero too, or `WeightsError` is raised; of the ways to resize
    only the two that are known here are kept.
    """
    way = settings.get(f"{prefix}interpolation")
    found: dict[str, Any] = {"interpolation": way} if way in ("bicubic", "bilinear") else {}
    for name in ("mean", "std"):
        values = settings.get(f"{prefix}{name}")
        if values is None:
            continue
        good = isinstance(values, (list, tuple)) and len(values) == 3 and all(type(v) in (int, float) for v in values)
        if not good or not all(abs(v) < 1e6 and math.isfinite(v) and (name == "mean" or v > 0) for v in values):
            rule = "three numbers" + (" above zero" if name == "std" else "")
            value = reprlib.repr(values)
            raise WeightsError(f"{source}: {prefix}{name} is {value}, expected {rule}; correct the file")
        found[name] = tuple(values)
    return found
