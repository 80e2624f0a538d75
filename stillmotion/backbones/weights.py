"""A backbone's tensors, compared and filled in strictly."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import WeightsError
from stillmotion.models.features import FRAMES, Reads
from stillmotion.weights.names import from_openai, matches

Tower = Literal["visual.", "text."]
TOWERS: tuple[Tower, ...] = ("visual.", "text.")
# What of a backbone's sizes says nothing of a tower.
_APART = {"visual.": ("text", "tokenizer"), "text.": ("vision", "tokenizer")}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Float32 tensors of a backbone: those of the image tower after `visual.`, those of the text tower as they are."""

    name: str
    """Where they came from: what `load_backbone` was asked for."""
    backbone: Backbone
    state: dict[str, Tensor] = field(repr=False)
    _fingerprints: dict[str, str] = field(default_factory=dict, repr=False)

    def fingerprint(self, tower: Tower = "visual.") -> str:
        """SHA-256 over names, shapes and float32 values of a tower: equal for equal weights, whatever file held them.

        The image tower's position table counts at the size it is used at, the text tower without the temperature. Two
        towers of equal weights differ if their activations, heads or pooling do.
        """
        if tower not in self._fingerprints:
            sizes = {k: v for k, v in self.backbone.sizes.items() if k not in _APART[tower]}
            digest = hashlib.sha256(json.dumps([self.backbone.kind, sizes], sort_keys=True).encode())
            for key, tensor in sorted(from_openai(self.state).items()):
                if key.startswith(tower):
                    digest.update(f"{key}{tuple(tensor.shape)}".encode())
                    digest.update(tensor.float().contiguous().numpy().tobytes())
            self._fingerprints[tower] = digest.hexdigest()
        return self._fingerprints[tower]


def image_tower(weights: Weights, reads: Reads) -> nn.Module:
    """The image tower that gives these outputs, as it came: it shares the tensors of `weights`, so it is only read."""
    with init_empty_weights(include_buffers=False):  # buffers may be computed when a tower is built: rotary tables
        tower: nn.Module = weights.backbone.visual(reads)
    # Assigned, not copied; what the tower has no place for is what these outputs do not need.
    tower.load_state_dict({k: weights.state[f"visual.{k}"] for k in tower.state_dict()}, assign=True)
    return tower


def check_fingerprints(expected: Mapping[Any, str], trained_on: str, weights: Weights) -> None:
    """Refuse weights that are not those a model was trained on.

    Args:
        expected: the hash of each tower that must be the same.
        trained_on: where those weights came from.

    Raises `WeightsError`: a tower differs.
    """
    for tower, fingerprint in expected.items():
        found = weights.fingerprint(tower)
        if found != fingerprint:
            raise WeightsError(
                f"{weights.name} is not the backbone this model was trained on ({trained_on}): its "
                f"{tower.rstrip('.')} tower has hash {found[:12]}, expected {fingerprint[:12]}; pass it as --backbone"
            )


def check(weights: Weights) -> None:
    """Compare names and shapes with those of the towers; list every missing, extra or misshapen tensor.

    Raises `WeightsError`: the tensors are not those of such a model.
    """
    expected = tower_tensors(weights.backbone)
    if weights.backbone.text or "logit_scale" in weights.state:
        expected["logit_scale"] = torch.empty(())
    if weights.backbone.sigmoid:
        expected["logit_bias"] = torch.empty(())
    compare(expected, weights.state, weights.name)


def tower_tensors(backbone: Backbone) -> dict[str, Tensor]:
    """Names and shapes of the tensors of a backbone's towers, without values and without the temperature."""
    with torch.device("meta"):
        text = backbone.text_tower()
        tensors = {f"visual.{k}": v for k, v in backbone.visual(FRAMES).state_dict().items()}
        return tensors | (text.state_dict() if text is not None else {})


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str) -> None:
    """Raise a `WeightsError` that lists every missing, extra and misshapen tensor; values do not matter."""
    problems = []
    if missing := sorted(expected.keys() - found.keys()):
        problems.append(f"missing {', '.join(missing)}")
    if extra := sorted(found.keys() - expected.keys()):
        problems.append(f"not in the model: {', '.join(extra)}")
    wrong = [k for k in sorted(expected.keys() & found.keys()) if expected[k].shape != found[k].shape]
    if wrong:
        shapes = (f"{k} is {tuple(found[k].shape)}, expected {tuple(expected[k].shape)}" for k in wrong)
        problems.append(f"misshapen: {', '.join(shapes)}")
    if problems:
        raise WeightsError(f"{source} does not fit the model: {'; '.join(problems)}")


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, new: Iterable[str], source: str) -> None:
    """Fill a method's model with a backbone's tensors, strictly.

    Args:
        new: name patterns of parameters that the backbone does not hold; they keep their initial values. What it
            holds and the model has no place for (a closed-set model's text tower, an unused projection) is left out.

    Raises `WeightsError`: a parameter of the model is neither new nor in the state.
    """
    new = tuple(new)
    own = {k: v for k, v in model.state_dict().items() if not matches(k, new)}
    given = {k: v for k, v in from_openai(state).items() if k in own}
    if "head.logit_scale" in own and "head.logit_scale" not in given and not any(k.startswith("text.") for k in own):
        given["head.logit_scale"] = own["head.logit_scale"]  # an image tower alone brings no temperature
    compare(own, given, source)
    model.load_state_dict(given, strict=False)
