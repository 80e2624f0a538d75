"""A file that was trained here, as CLIP weights: stage 1 of bridge and prompt, say, for stage 2."""

import json
from pathlib import Path
from typing import Any

from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.weights import ClipWeights, check_fingerprints, load_clip, tower_tensors
from stillmotion.errors import WeightsError
from stillmotion.weights.names import to_openai
from stillmotion.weights.readers import read_metadata, read_safetensors

FORMAT = "stillmotion/1"


def read_card_json(path: Path) -> dict[str, Any]:
    """Read what a checkpoint of ours says of itself, as JSON.

    Raises:
        WeightsError: it was not written by stillmotion, by a newer version, or is damaged.
    """
    text = read_metadata(path).get("stillmotion")
    if text is None:
        raise WeightsError(f"{path} was not written by stillmotion; pass a model.safetensors of a run")
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path} has a damaged description ({error}); train or convert it again") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise WeightsError(f"{path} has format {found!r}; update stillmotion to read it")
    return raw


def clip_inside(name: str, path: Path, base: str | None = None) -> ClipWeights:
    """Read the CLIP inside a trained file; towers that it does not hold are fetched and must be the same as then.

    Args:
        name: of the result.
        path: a checkpoint of ours.
        base: where to find the CLIP that it does not hold, if that is not where it came from any more.

    Raises:
        WeightsError: the file is damaged, or the towers it needs are not found or other ones.
    """
    card = read_card_json(path)
    try:
        config = CLIPConfig.from_dict(card["clip"])
        pixels, clip_name, fingerprints = card["preprocess"], card["clip_name"], card["fingerprints"]
        statistics = {k: tuple(pixels[k]) for k in ("mean", "std")} | {"interpolation": pixels["interpolation"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} has a damaged description ({error!r}); train or convert it again") from error
    known, state = tower_tensors(config), to_openai(read_safetensors(path))
    if known.keys() - state.keys():
        weights = _base(clip_name, base, config)
        check_fingerprints(fingerprints, clip_name, weights)
        state = weights.state | state
    state = {k: v.float().contiguous() for k, v in state.items() if k in known or k == "logit_scale"}
    return ClipWeights(name=name, config=config, state=state, **statistics)


def _base(clip_name: str, base: str | None, config: CLIPConfig) -> ClipWeights:
    try:
        return load_clip(clip_name, image_size=config.vision.image_size)
    except WeightsError:
        if base is None:
            raise
        return load_clip(base, image_size=config.vision.image_size)
