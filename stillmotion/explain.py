"""Where a model looks in a video, and what each frame says alone: EVL's figure 4, for every model.

A tower that can show its class token has `class_token` and `observe`; one that can compare patches with class names has
`embed_patches`; a temporal module that reads patches with a query has `attention`; a head that compares videos with
class names has `compared`. What a model does not have is named in `Explanation.missing`, with the reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.data.transforms import Preprocess
from stillmotion.errors import OtherWeightsError, StillmotionError, did_you_mean
from stillmotion.models.class_attention import ClassAttention
from stillmotion.models.features import Features, last_out
from stillmotion.models.video_clip import CosineHead, VideoClassifier
from stillmotion.prediction import Prediction
from stillmotion.progress import progress_bar

TOWER, ROLLOUT, QUERY, BEFORE = "tower", "rollout", "query", " before tuning"
UNSURE = " if these are the weights it was tuned from, which the model's file does not say"
Untuned = Callable[[], tuple[nn.Module, bool] | None]
ABOUT = {
    TOWER: "attention of each frame's class token in the last block, mean of the heads",
    ROLLOUT: "attention of each frame's class token through all blocks (rollout)",
    QUERY: "attention of the video query over the patches of all frames, mean of layers and heads",
}


@dataclass(frozen=True, eq=False, repr=False)
class Map:
    """Numbers on the patches of a video.

    weights: (T, gh, gw) float32 on the CPU. A model that reads several frames as one step of time (V-JEPA) gives each
        of them an equal part of the step's.
    sums: what sums to one: the `weights` of each `frame` with `rest` (T,); those of the whole `video` with `rest` ();
        or `nothing`, for differences of cosines, in [-2, 2].
    rest: what falls on tokens that are no patches: class and register tokens, learned prompts, messages of frames.
    heads: (layers, heads, T, gh, gw), what `weights` is made of, shallow to deep; None where there are no heads.
    about: what it shows, in words.
    """

    weights: Tensor
    sums: Literal["frame", "video", "nothing"]
    about: str
    rest: Tensor | None = None
    heads: Tensor | None = None

    def __repr__(self) -> str:
        T, gh, gw = self.weights.shape
        return f"<Map: {T} frames of {gh}x{gw} patches, sums to one over {self.sums}>"

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest weight."""
        return float(self.weights.min()), float(self.weights.max())


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """One view of a video, as a model sees it.

    frames: (T, 3, H, W) float32 RGB in [0, 1], the pixels that the model read.
    maps: by name, those that the model has, each with T frames:
        `tower`       the class token's attention in the image tower's last block (EVL, figure 4, upper row)
        `rollout`     the same through all blocks (attention rollout: Abnar and Zuidema, 2020)
        `query`       the attention of the query of EVL (figure 4, lower row), STEP or an attentive probe
        `class: NAME` how much more each patch is like this class name than like the mean class (after MaskCLIP,
                      ECCV 2022; the mean taken away as in CLIP Surgery, 2023); with one class, the cosine itself
        `tower before tuning`, `rollout before tuning`   of the backbone's own weights, where training changed them
    missing: names of maps that this model does not have, and why.
    label: the class that is explained.
    frame_scores: (T,) in [0, 1], the probability of `label` for a video of this frame alone, repeated T times.
    prediction: what the classifier says of this view.
    """

    frames: Tensor
    maps: dict[str, Map]
    missing: dict[str, str]
    label: str
    frame_scores: Tensor
    prediction: Prediction

    def __repr__(self) -> str:
        return f"<Explanation: {self.label}, {len(self.frames)} frames, maps {', '.join(self.maps) or 'none'}>"

    @property
    def unsure(self) -> str:
        """What cannot be told of the maps, in a line; empty: nothing."""
        found = [one for name, one in self.maps.items() if name.endswith(BEFORE) and one.about.endswith(UNSURE)]
        return f"before tuning{UNSURE}" if found else ""

    @property
    def not_shown(self) -> list[str]:
        """What `missing` says, a line for each reason."""
        reasons = dict.fromkeys(self.missing.values())
        return [f"{', '.join(n for n, w in self.missing.items() if w == why)}: {why}" for why in reasons]


@dataclass(frozen=True)
class Asked:
    """What is to be explained: `shown` of the `classes`, first the one of the frames' scores, by embeddings `text`."""

    classes: Sequence[str]
    text: Tensor | None
    shown: Sequence[str]

    def __post_init__(self) -> None:
        for name in self.shown:
            if name not in self.classes:
                raise StillmotionError(f"there is no class {name!r}{did_you_mean(name, self.classes)}")


def explain(
    model: VideoClassifier,
    video: Tensor,
    asked: Asked,
    prediction: Prediction,
    preprocess: Preprocess,
    untuned: Untuned | None = None,
) -> Explanation:
    """Look into a model while it reads one view; `Classifier.explain` is the way to it.

    Args:
        model: in evaluation mode, on the device of the video.
        video: (1, T, 3, H, W), normalized.
        asked: classes that `prediction` knows.
        preprocess: how the video was made of pixels.
        untuned: builds the image tower as it was before training, and says whether it is known to be that one; gives
            None where training left it as it was. None: unknown.
    """
    visual = getattr(model, "visual", None)
    features: Features | None = None
    if visual is None:
        why = "a model of another library, which is not looked into"
        maps: dict[str, Map] = {}
        missing = dict.fromkeys((TOWER, ROLLOUT, QUERY), why)
    else:
        features, maps, missing = _look(model, visual, video, asked)
        if TOWER in maps:
            _look_before(maps, missing, video, untuned)
    place = list(asked.classes).index(asked.shown[0])
    return Explanation(
        frames=_pixels(video[0].cpu(), preprocess),
        maps=maps,
        missing=missing,
        label=asked.shown[0],
        frame_scores=_frame_scores(model, video, features, asked.text)[:, place],
        prediction=prediction,
    )


@torch.inference_mode()
def _look(model: Any, visual: Any, video: Tensor, asked: Asked) -> tuple[Features, dict[str, Map], dict[str, str]]:
    """The tower's outputs, the maps of one forward, and which are missing."""
    missing: dict[str, str] = {}
    maps, features, values = _tower_maps(visual, video)
    if not maps:
        missing = dict.fromkeys((TOWER, ROLLOUT), "this image tower has no class token that shows its attention")
    try:
        maps[QUERY] = _query_map(model.temporal, visual, features, video.shape[1])
    except StillmotionError as error:
        missing[QUERY] = str(error)
    try:
        maps |= _class_maps(model.head, visual, features, values, asked)
    except StillmotionError as error:
        missing["class names"] = str(error)
    return features, maps, missing


def _tower_maps(visual: Any, video: Tensor, about: str = "") -> tuple[dict[str, Map], Features, Tensor | None]:
    """Maps of the class token, where there is one; the outputs; the values of the last block, where they are given."""
    if not getattr(visual, "class_token", False):
        return {}, visual(video), None
    (gh, gw), first = visual.grid, visual.prefix_tokens
    seen = ClassAttention(first + gh * gw)
    features = visual.observe(video, seen)

    def patches(x: Tensor) -> Tensor:
        return x[..., first : first + gh * gw].unflatten(-1, (gh, gw)).cpu()

    def rest(x: Tensor) -> Tensor:
        return (x[..., :first].sum(-1) + x[..., first + gh * gw :].sum(-1)).cpu()

    last_TL, rollout_TL = seen.blocks[-1].mean(dim=0), seen.rollout
    heads = torch.stack([patches(block) for block in seen.blocks])
    maps = {
        TOWER: Map(patches(last_TL), "frame", ABOUT[TOWER] + about, rest(last_TL), heads),
        ROLLOUT: Map(patches(rollout_TL), "frame", ABOUT[ROLLOUT] + about, rest(rollout_TL)),
    }
    return maps, features, seen.values


def _look_before(maps: dict[str, Map], missing: dict[str, str], video: Tensor, untuned: Untuned | None) -> None:
    """Add the maps of the tower as it was before training; say why where there are none."""
    why = "this model is not from a trained file, which says what it was made of"
    try:
        found = untuned() if untuned is not None else None
        if untuned is not None and found is None:
            why = "this model left the image tower as it was"
    except OtherWeightsError:
        raise
    except StillmotionError as error:
        found, why = None, f"the weights that it was trained from cannot be had: {error}"
    if found is None:
        missing[TOWER + BEFORE] = missing[ROLLOUT + BEFORE] = why
        return
    tower, known = found
    with torch.inference_mode():
        before, _, _ = _tower_maps(tower.to(video.device).eval(), video, f",{BEFORE}{'' if known else UNSURE}")
    maps |= {name + BEFORE: value for name, value in before.items()}


def _query_map(temporal: nn.Module, visual: Any, features: Features, T: int) -> Map:
    """Raises `StillmotionError`: there is no query, or one that does not read single patches."""
    look = getattr(temporal, "attention", None)
    if look is None:
        raise StillmotionError("this model has no query that reads patches")
    weights_MHTL = look(features)[0].float().cpu()
    (gh, gw), first = visual.grid, visual.prefix_tokens
    if weights_MHTL.shape[-2:] != last_out(features).shape[1:3]:
        raise StillmotionError("this model reads averages of tokens, not single patches")
    stride = T // weights_MHTL.shape[2]  # frames in a step
    heads = weights_MHTL[..., first:].unflatten(-1, (gh, gw)).repeat_interleave(stride, dim=2) / stride
    weights = heads.mean(dim=(0, 1))
    return Map(weights, "video", ABOUT[QUERY], 1 - weights.sum(), heads)


def _class_maps(
    head: nn.Module, visual: Any, features: Features, values: Tensor | None, asked: Asked
) -> dict[str, Map]:
    """Raises `StillmotionError`: the model does not compare videos with class names, or its tower cannot patches."""
    if not isinstance(head, CosineHead):
        raise StillmotionError("this model knows its classes by number: no patch can be compared with a class name")
    embed = getattr(visual, "embed_patches", None)
    patches_BTPE = None if embed is None or values is None else embed(values)
    if patches_BTPE is None:
        raise StillmotionError("patches of this image tower are in no space with class names")
    text_KE = head.compared(asked.text, features).flatten(0, -2)  # of one video
    cosine_TPK = F.normalize(patches_BTPE[0], dim=-1) @ text_KE.to(patches_BTPE.dtype).T
    how, K = "each patch's cosine with the class name", len(asked.classes)
    if K > 1:
        cosine_TPK = cosine_TPK - cosine_TPK.mean(dim=-1, keepdim=True)
        how += f", minus its mean over all {K} classes"
    maps = {}
    for name in asked.shown:
        weights_TP = cosine_TPK[..., list(asked.classes).index(name)]
        maps[f"class: {name}"] = Map(weights_TP.unflatten(-1, visual.grid).float().cpu(), "nothing", how)
    return maps


@torch.inference_mode()
def _frame_scores(model: Any, video: Tensor, features: Features | None, text: Tensor | None) -> Tensor:
    """Probabilities (T, K) of each frame alone, repeated. A tower that sees frames one by one runs once for all."""
    T = video.shape[1]

    def repeated(t: int) -> Tensor | Features:
        if by_frame is None:
            return video[:, t : t + 1].expand(-1, T, -1, -1, -1)
        times = {name: T - 1 if name.startswith("affinity.") else T for name in by_frame}
        return {name: x[t : t + 1].repeat(1, times[name], *[1] * (x.ndim - 2)) for name, x in by_frame.items()}

    by_frame: Features | None = None  # of each frame (T, 1, ...)
    if features is not None and getattr(model.visual, "by_frame", False):
        by_frame = {name: x[0].unsqueeze(1) for name, x in features.items()}
        if any(name.startswith("affinity.") for name in features):  # of a frame with itself
            twice = video[0].unsqueeze(1).expand(-1, 2, -1, -1, -1)
            by_frame = {name: x[:, :1] for name, x in model.visual(twice).items()}
    logits = []
    with progress_bar("frames alone", T) as advance:
        for t in range(T):
            logits.append(model.classify(repeated(t), text))
            advance()
    return torch.cat(logits).float().softmax(dim=-1).cpu()


def _pixels(frames: Tensor, preprocess: Preprocess) -> Tensor:
    """Normalized frames (T, 3, H, W) as RGB in [0, 1]."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocess.mean, preprocess.std))
    frames = (frames * std + mean).clamp(0, 1)
    return frames.flip(-3) if preprocess.bgr else frames
