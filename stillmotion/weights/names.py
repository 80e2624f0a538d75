"""Foreign parameter names, translated at the edge; inside, every CLIP tensor has OpenAI's name."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import Tensor

from stillmotion.errors import WeightsError
from stillmotion.weights.hugging_face import from_hugging_face

V = TypeVar("V")

# Scalars and buffers of old checkpoints that carry no weights.
IGNORED = ("input_resolution", "context_length", "vocab_size", "logit_bias")


Names = Sequence[tuple[str, str]]
"""Prefixes of foreign names and of ours; the longest one that fits counts."""

OPENAI: Names = (
    ("visual.", "visual."),
    ("logit_scale", "head.logit_scale"),
    ("logit_bias", "head.logit_bias"),
    ("", "text."),
)


def translate(state: Mapping[str, V], names: Names, back: bool = False) -> dict[str, V]:
    """Replace the prefix of every name: foreign to ours, or ours to foreign (`back`).

    Raises `WeightsError`: a name that no prefix fits.
    """
    table = sorted(((b, a) if back else (a, b) for a, b in names), key=lambda pair: -len(pair[0]))
    renamed = {}
    for key, value in state.items():
        pair = next((pair for pair in table if key.startswith(pair[0])), None)
        if pair is None:
            raise WeightsError(f"tensor {key!r} is not part of this model; pass a checkpoint of its release")
        renamed[pair[1] + key[len(pair[0]) :]] = value
    return renamed


def from_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names to those of a `VideoCLIP`: the text tower moves under `text.`, the temperature to the head."""
    return translate(state, OPENAI)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of some patterns such as `temporal.*`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def count_parts(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many modules of a list a state holds: the different numbers behind a prefix such as `mit.resblocks.`."""
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})


def to_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of OpenAI, open_clip (both of its layouts) or Hugging Face to OpenAI's; anything else is kept as it is."""
    state = {k.removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    if any(k.startswith("vision_model.") for k in state):
        return from_hugging_face(state)
    kept = {k: v for k, v in state.items() if k not in IGNORED and not k.endswith(("position_ids", "attn_mask"))}
    renamed = {k.removeprefix("text.").replace("head.logit_", "logit_"): v for k, v in kept.items()}
    if "logit_scale" in renamed:
        renamed["logit_scale"] = renamed["logit_scale"].reshape(())
    return renamed
