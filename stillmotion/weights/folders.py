"""What the JSON files of a Hugging Face or open_clip folder say of its model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def folder_sizes(path: Path) -> dict[str, Any]:
    """Sizes that a Hugging Face folder's `config.json` says and its tensors do not: activation and heads."""
    settings = read_json(path / "config.json")
    vision, text = settings.get("vision_config", {}), settings.get("text_config", {})
    heads = {"vision_heads": vision.get("num_attention_heads"), "text_heads": text.get("num_attention_heads")}
    act = "gelu" if vision.get("hidden_act") == "gelu" else "quick_gelu"
    return {"activation": act} | {name: count for name, count in heads.items() if count}


def folder_pixels(path: Path) -> dict[str, Any]:
    """Pixel statistics and interpolation that a Hugging Face or open_clip folder says."""
    settings = read_json(path / "preprocessor_config.json")
    pixels = {ours: tuple(settings[theirs]) for ours, theirs in _STATISTICS.items() if theirs in settings}
    settings = read_json(path / "open_clip_config.json").get("preprocess_cfg", {})
    return pixels | {k: tuple(settings[k]) for k in ("mean", "std") if k in settings} | interpolation(settings)


def interpolation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The interpolation, where settings name one that frames can be scaled with."""
    return (
        {"interpolation": settings["interpolation"]} if settings.get("interpolation") in ("bicubic", "bilinear") else {}
    )


_STATISTICS = {"mean": "image_mean", "std": "image_std"}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is none."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
