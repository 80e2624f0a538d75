"""Checkpoints of the official releases, as models of ours."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stillmotion.backbones.clip import describe
from stillmotion.backbones.clip_files import clip_config
from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.weights import compare
from stillmotion.checkpoint import Card
from stillmotion.errors import WeightsError, damaged, did_you_mean
from stillmotion.methods import METHODS
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.releases import RELEASES
from stillmotion.releases.base import HIDDEN, Official, Release, State, hidden_sizes
from stillmotion.weights.folders import folder_sizes, read_sharded
from stillmotion.weights.names import to_openai
from stillmotion.weights.pickles import read_pickled
from stillmotion.weights.readers import check_finite, open_wrappers, read_state, tensors_of

# Where a file that we wrote for a release keeps the card of the model: beside the state dict, which alone is read
# there; in a folder, the JSON file of that name.
NOTE = "stillmotion"


class Opened(NamedTuple):
    """What a file holds: tensors, sizes that are said beside them, and the card of the model that it was made of."""

    state: dict[str, Tensor]
    sizes: dict[str, Any] = {}
    card: Card | None = None


def from_official(
    method: str,
    checkpoint: str | Path | State,
    clip: str | Path | State | None = None,
    class_names: Sequence[str] | None = None,
    **sizes: Any,
) -> VideoCLIP:
    """Build a model from a checkpoint of a method's official release.

    Args:
        method: `evl`, `vificlip`, `xclip`, `actionclip`, `a5`; `zero_shot` for CLIP itself.
        checkpoint: the release's file, or its content or state dict with official names; a folder of Hugging Face's
            `XCLIPModel` or `CLIPModel`.
        clip: CLIP's weights, where the release does not hold them: a name such as `ViT-B-16:openai-int8`, or a file, a
            folder or a state dict with OpenAI's names, of which for `evl` the `visual.*` part is enough, for `vificlip`
            the token table.
        class_names: names of the classes, for a closed set in the order of its logits; kept as `model.class_names`.
        sizes: what the tensors do not show: `image_size` (height, width), `vision_heads`, `text_heads`, `activation`,
            for EVL `heads`, `num_frames` (without frame positions) and `taps`, for A5 `prefix` and `postfix`, and any
            other option of the method that its checkpoint is silent about.

    Returns:
        The model in evaluation mode, on the CPU, in float32.

    Raises `WeightsError`: an unknown method, an unreadable file, tensors that do not fit or are not finite, a wrong
    number of classes, or an option that the method does not have or that the tensors contradict.
    """
    opened = open_release(method, checkpoint)
    held = _open_clip(clip, (opened.sizes | sizes).get("image_size"))
    official, config = read_official(method, opened, held, sizes)
    names = names_of(official, class_names if class_names is not None or not opened.card else opened.card.names)
    model = official.method.build(describe(config), names)
    model.load_state_dict(official.state)
    model.class_names = tuple(names)
    return model.eval()


def release_of(method: str) -> Release:
    """Return the release of a method; a `WeightsError` where there is none."""
    if method in RELEASES:
        return RELEASES[method]
    if method in METHODS:
        raise WeightsError(f"{METHODS[method].__name__} has no official checkpoints; it is ours alone")
    raise WeightsError(f"there is no method {method!r}{did_you_mean(method, METHODS)}")


def open_release(method: str, checkpoint: str | Path | State) -> Opened:
    """Read the file or the folder of a method's release, or its content; a `WeightsError` where it cannot be."""
    beside, sizes = release_of(method).beside, dict[str, Any]()
    if isinstance(checkpoint, Mapping):
        state, note, source = open_wrappers(checkpoint, beside), checkpoint.get(NOTE), f"this {method} checkpoint"
    else:
        (state, sizes, note), source = _read(Path(checkpoint), beside), str(checkpoint)
    card = _card(note, source)
    state = {key.removeprefix("module."): tensor for key, tensor in state.items()}  # which data parallelism adds
    if card is None or type(card.method) is not METHODS[method] or card.backbone.kind != "clip":
        return Opened(state, sizes)
    sizes = hidden_sizes(CLIPConfig.from_dict(card.backbone.sizes)) | {"image_size": card.backbone.pixels.size}
    return Opened(state, sizes, card)


def read_official(
    method: str, opened: Opened, clip: Opened | None, given: dict[str, Any], num_frames: int | None = None
) -> tuple[Official, CLIPConfig]:
    """Translate what a file of a release holds into our names, in float32, and find the sizes of its CLIP.

    Arguments and errors are as `from_official`'s; `num_frames` are those of a view where nothing else says.
    """
    release, kind, source = release_of(method), METHODS[method], f"the official {method} checkpoint"
    check_names(method, given, {*HIDDEN, *(f.name for f in fields(kind))})
    options = {k: v for k, v in given.items() if k not in HIDDEN}
    hidden = {k: v for k, v in ((clip.sizes if clip else {}) | opened.sizes | given).items() if k in HIDDEN}
    frames = {} if num_frames is None else {"num_frames": num_frames}
    with damaged(f"this {method} checkpoint lacks tensors, or some are misshapen", "pass a whole one"):
        official = release.read(opened.state, clip.state if clip else None, **frames | options)
        config = CLIPConfig.from_state(official.clip, **hidden)
        for name, value in options.items():
            if (shown := getattr(official.method, name)) != value:
                raise WeightsError(f"{name} is {value}, and the tensors show {shown}; leave it out")
        if opened.card is not None:
            official = official._replace(method=replace(opened.card.method, **options))
            if set(HIDDEN).isdisjoint(given):
                config = CLIPConfig.from_dict(opened.card.backbone.sizes)
        with torch.device("meta"):  # sizes that are not those of a model take no memory here
            expected = official.method.build(describe(config), [""] * (official.num_classes or 0)).state_dict()
    state = {k: v.float() for k, v in official.state.items()}
    compare(expected, state, source)
    check_finite(state, source)
    return official._replace(state=state), config


def check_names(method: str, given: Collection[str], known: Collection[str]) -> None:
    """Raise a `WeightsError` for a size or an option that a method does not have, with the nearest that it has."""
    for name in given:
        if name not in known:
            raise WeightsError(f"{method} has no size {name!r}{did_you_mean(name, known)}")


def names_of(official: Official, names: Sequence[str] | None) -> list[str]:
    """Those given, as many as a closed set has or a `WeightsError`; else the numbers of its logits."""
    count = official.num_classes
    if names is None:
        return [str(i) for i in range(count or 0)]
    if count is not None and len(names) != count:
        raise WeightsError(f"{len(names)} class names for a head of {count} classes; give one name per class")
    return list(names)


def _open_clip(clip: str | Path | State | None, image_size: Any) -> Opened | None:
    if clip is None:
        return None
    if isinstance(clip, Mapping):
        return Opened(to_openai(open_wrappers(clip)))
    if isinstance(clip, str) and not Path(clip).exists():
        weights = load_backbone(clip, image_size=image_size)
        return Opened(weights.state, hidden_sizes(clip_config(weights)))
    state, sizes, _ = _read(Path(clip))
    return Opened(to_openai(state), sizes)


def _read(path: Path, beside: Mapping[str, str] | None = None) -> tuple[dict[str, Tensor], dict[str, Any], Any]:
    """Tensors, the sizes beside them, and the card as text where we wrote it."""
    if path.is_dir():
        file = path / f"{NOTE}.json"
        note = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
        return read_sharded(path), folder_sizes(path), note
    if path.suffix == ".safetensors" or not path.is_file():
        return read_state(path), {}, None
    content = read_pickled(path)
    return tensors_of(content, path, beside), {}, content.get(NOTE) if isinstance(content, Mapping) else None


def _card(text: Any, source: str) -> Card | None:
    """The card of the model that a file was written from, if it was we who wrote it."""
    if not isinstance(text, str):
        return None
    with damaged(f"{source} has a damaged entry {NOTE!r}", "remove it, or convert again"):
        raw = json.loads(text)
    return Card.from_json(raw, f"the entry {NOTE!r} of {source}")
