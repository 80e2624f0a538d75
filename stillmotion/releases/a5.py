"""The release of A0 to A7 (Efficient-Prompt): the learned parts, with CLIP or without."""

from typing import Any

import torch

from stillmotion.errors import WeightsError
from stillmotion.methods.a5 import A5
from stillmotion.releases.base import MissingClip, Official, Release, State
from stillmotion.weights.names import OPENAI, count_parts, translate

NAMES = (
    ("embedding.", "text.stem."),
    ("temporalEmbedding.", "temporal.temporalEmbedding."),
    ("temporalModelling.", "temporal.temporalModelling."),
)


def read(checkpoint: State, clip: State | None, **options: Any) -> Official:
    """Read the new parts; CLIP comes with them, or from `clip`."""
    inside = {k.removeprefix("clipmodel."): v for k, v in checkpoint.items() if k.startswith("clipmodel.")}
    if "embedding.weight" not in checkpoint:
        raise WeightsError("no 'embedding.weight': this is not a checkpoint of A5's release (Efficient-Prompt)")
    towers = inside or dict(clip or {})
    if not towers:
        raise MissingClip("this A5 checkpoint holds no CLIP ('clipmodel.*')", "the OpenAI ViT-B/16 weights")
    new = translate({k: v for k, v in checkpoint.items() if not k.startswith("clipmodel.")}, NAMES)
    options = {"layers": count_parts(new, "temporal.temporalModelling.resblocks.")} | options
    if not options["layers"]:  # the release keeps a table of positions that its first four models do not read
        new = {k: v for k, v in new.items() if not k.startswith("temporal.")}
    elif "temporal.temporalEmbedding.weight" in new:
        options["num_frames"] = new["temporal.temporalEmbedding.weight"].shape[0]
    plain = {k: v for k, v in translate(towers, OPENAI).items() if k != "head.logit_scale"}
    return Official(A5(**options), towers, plain | new)


def write(method: A5, state: State) -> dict[str, Any]:
    """Write the new parts, and CLIP's."""
    new = {k: v for k, v in state.items() if k.startswith(("temporal.", "text.stem."))}
    clip = translate({k: v for k, v in state.items() if k not in new}, OPENAI, back=True)
    if not method.layers:  # the release has this table in all of its models
        new["temporal.temporalEmbedding.weight"] = torch.zeros(method.num_frames, clip["text_projection"].shape[1])
    clip["logit_scale"] = torch.tensor(100.0).log()  # CLIP's own, which the release loads and does not use
    return {"state_dict": {f"clipmodel.{k}": v for k, v in clip.items()} | translate(new, NAMES, back=True)}


OPTIONS = {
    "num_frames": "frames of a view, where there is no temporal transformer; None: the release's 16, which is said",
    "prefix": "learned vectors before the class name; None: 16",
    "postfix": "learned vectors behind it; None: 16",
    "temperature": "divides the cosine; None: 0.07",
    "layers": "blocks of the temporal transformer that are read; None: all; 0: the mean of the frames",
}
RELEASE = Release(read, write, "a5_hmdb51", OPTIONS)
