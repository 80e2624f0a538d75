"""The table of backbones: a name or a path in, a backbone and its tensors out.

ViT-B-16:openai          any open_clip model and pretrained tag, from the hub or its local cache
ViT-B-16:openai-int8     OpenAI's image tower from the package index, for machines without a hub
tiny                     a CLIP of 1.3 M parameters in the package, which knows rendered stills alone (docs/tiny.md)
auto                     the int8 image tower, or where it cannot be had ViT-B-16:openai
path/to/ViT-B-16.pt      OpenAI's TorchScript archive (read, never run), or any state dict of open_clip's
path/model.safetensors   the backbone inside a model that was trained here (ViFi-CLIP's, before prompts are learned)
path/to/folder           a Hugging Face CLIPModel, or an open_clip model folder
ViT-B-16:path/to/file    a file, with the sizes and activation of that open_clip model
timm:NAME[:FILE]         an image tower of timm: DINOv2 and v3, SigLIP 2, PE-Core, EVA; weights from the hub or a file
vjepa2:FOLDER            V-JEPA 2, which reads two frames at a time: a folder of transformers, or a name on the hub

Names of open_clip's go to kind `open_clip` where their towers are not CLIP's own, else to kind `clip`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stillmotion.backbones import clip, clip_files, open_clip_towers, timm_towers, vjepa
from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.weights import Weights, check, check_fingerprints, tower_tensors
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError, damaged, did_you_mean
from stillmotion.weights.names import to_openai
from stillmotion.weights.readers import check_finite, read_metadata, read_safetensors

FORMAT, AGAIN = "stillmotion/2", "train or convert it again"
Seen = tuple[Path, ...]
"""Trained files on the way to this one."""


class Kind(NamedTuple):
    """A family of backbones."""

    load: Callable[[str, tuple[int, int] | None, Mapping[str, Any]], Weights]
    """Name, input size (height, width) and sizes that tensors do not show, to weights."""
    describe: Callable[[Mapping[str, Any], Preprocess], Backbone]
    """Sizes and pixels, as a checkpoint holds them, to a backbone."""


KINDS: dict[str, Kind] = {
    "clip": Kind(clip_files.load, lambda sizes, pixels: clip.describe(CLIPConfig.from_dict(sizes), pixels)),
    "open_clip": Kind(open_clip_towers.load, open_clip_towers.describe),
    "timm": Kind(timm_towers.load, timm_towers.describe),
    "vjepa2": Kind(vjepa.load, vjepa.describe),
}


def load_backbone(
    name: str = clip_files.OPENAI,
    *,
    image_size: int | tuple[int, int] | None = None,
    activation: Literal["quick_gelu", "gelu"] | None = None,
    vision_heads: int | None = None,
    text_heads: int | None = None,
    base: str | None = None,
) -> Weights:
    """Find, read and check a backbone.

    Args:
        name: see the module's table.
        image_size: another input size in pixels, (height, width) or one side; positions are interpolated.
        activation: of a local file, where it is not OpenAI's QuickGELU.
        vision_heads, text_heads: of a local file whose heads are not 64 wide.
        base: where to find the towers that a trained file does not hold, if that is not where they came from any more.

    Raises `WeightsError`: the weights cannot be found, read or matched.
    """
    sizes = {"activation": activation, "vision_heads": vision_heads, "text_heads": text_heads}
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    return _load(name, size, sizes, base, ())


def _load(
    name: str, image_size: tuple[int, int] | None, sizes: Mapping[str, Any], base: str | None, seen: Seen
) -> Weights:
    path, given = Path(name), [size for size, value in sizes.items() if value is not None]
    if path.suffix == ".safetensors" and path.is_file() and "stillmotion" in read_metadata(path):
        if given:
            raise WeightsError(f"{', '.join(given)}: {name} is a trained file, which says its sizes; leave them out")
        weights = _inside(name, path, base, seen)
        if image_size is not None and image_size != weights.backbone.pixels.size:
            weights = clip_files.resized(weights, image_size)
    else:
        kind, colon, rest = name.partition(":")
        if not colon or kind not in KINDS:
            kind, rest = "open_clip" if name != clip_files.INT8 and open_clip_towers.has(name) else "clip", name
        if given and kind != "clip":
            raise WeightsError(f"{', '.join(given)} go with CLIP's local files; {name} says its own: leave them out")
        weights = KINDS[kind].load(rest, image_size, sizes)
    check(weights)
    check_finite(weights.state, weights.name)
    return weights


def absolute(name: str) -> str:
    """A backbone's name whose file, if it names one (`FILE`, `MODEL:FILE`), is found from every folder."""
    start, colon, file = name.rpartition(":")
    if Path(name).exists():
        return str(Path(name).absolute())
    return f"{start}{colon}{Path(file).expanduser().absolute()}" if colon and clip_files.local_file(file) else name


def backbone_of(raw: Any, source: str) -> Backbone:
    """Rebuild a backbone from `Backbone.to_dict`.

    Raises `WeightsError`: not one, or of a kind that this version does not have.
    """
    with damaged(f"{source} has a damaged description", AGAIN):
        kind, sizes, pixels = raw["kind"], raw["sizes"], raw["pixels"]
        if kind not in KINDS:
            raise WeightsError(
                f"{source} has a backbone of kind {kind!r:.80}{did_you_mean(str(kind), KINDS)}; one of your own "
                "is made known by the module that adds it, on the command line by STILLMOTION_IMPORT=my_module"
            )
        tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in pixels.items()}
        return KINDS[kind].describe(sizes, Preprocess(**tuples))


def read_card_json(path: Path) -> dict[str, Any]:
    """Read what a checkpoint of ours says of itself, as JSON.

    Raises `WeightsError`: it was not written by stillmotion, by a newer version, or is damaged.
    """
    text = read_metadata(path).get("stillmotion")
    if text is None:
        raise WeightsError(
            f"{path} was not written by stillmotion; pass a model.safetensors of a run (CLIP's own weights go to "
            "--backbone)"
        )
    with damaged(f"{path} has a damaged description", AGAIN):
        raw = json.loads(text)
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise WeightsError(f"{path} has format {found!r:.80}; this version reads {FORMAT!r}: {AGAIN}")
    return raw


def _inside(name: str, path: Path, base: str | None, seen: Seen) -> Weights:
    """The backbone in a trained file; towers that it does not hold are fetched and must be the same as then."""
    if path.resolve() in seen:
        raise WeightsError(f"{path} takes its backbone from itself; pass --backbone with the original weights")
    card = read_card_json(path)
    with damaged(f"{path} has a damaged description", AGAIN):
        backbone = backbone_of(card["backbone"], str(path))
        source, fingerprints = str(card["backbone_name"]), dict(card["fingerprints"])
    known, state = tower_tensors(backbone), to_openai(read_safetensors(path))
    if known.keys() - state.keys():
        size, seen = backbone.pixels.size, (*seen, path.resolve())
        try:
            weights = _load(source, size, {}, None, seen)
        except WeightsError:
            if base is None:
                raise
            weights = _load(base, size, {}, None, seen)
        check_fingerprints(fingerprints, source, weights)
        state = weights.state | state
    kept = {k: v.float().contiguous() for k, v in state.items() if k in known or k in ("logit_scale", "logit_bias")}
    return Weights(name=name, backbone=backbone, state=kept)
