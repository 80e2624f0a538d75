"""Which parameters train, and how fast: one ordered list of name patterns per method."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from torch import nn

from stillmotion.errors import StillmotionError

Decay = Literal["all", "matrices"]


@dataclass(frozen=True)
class Tune:
    """Parameters whose name matches `pattern` train at `lr * lr_scale`; 0 freezes. The last match wins.

    `decay` multiplies the weight decay: 0 leaves these parameters undecayed.
    """

    pattern: str
    lr_scale: float = 1.0
    decay: float = 1.0


def select(model: nn.Module, tunes: Sequence[Tune]) -> dict[str, Tune]:
    """Freeze every parameter that no pattern selects; return the rule of each one that trains, by name.

    Raises:
        StillmotionError: a pattern that matches nothing (a typing error must not freeze silently).
    """
    names = [name for name, _ in model.named_parameters()]
    for tune in tunes:
        if not any(fnmatchcase(name, tune.pattern) for name in names):
            raise StillmotionError(f"tuning pattern {tune.pattern!r} matches no parameter; see named_parameters()")
    rules = {}
    for name, parameter in model.named_parameters():
        rule = next((t for t in reversed(tunes) if fnmatchcase(name, t.pattern)), None)
        trains = rule is not None and rule.lr_scale > 0
        parameter.requires_grad_(trains)
        if rule is not None and trains:
            rules[name] = rule
    return rules


class TunedPart(NamedTuple):
    """A part of a model, as far as it is tuned alike."""

    name: str
    tensors: int
    parameters: int
    lr: float  # 0: frozen
    weight_decay: float


def explain(model: nn.Module, tunes: Sequence[Tune], lr: float, weight_decay: float, decay: Decay) -> list[TunedPart]:
    """Say for every part of a model what trains, at what rate and with what decay, and what is frozen."""
    rules = select(model, tunes)
    found: dict[tuple[str, float, float], list[int]] = {}
    for name, parameter in model.named_parameters():
        rule = rules.get(name)
        rate = lr * rule.lr_scale if rule else 0.0
        decayed = weight_decay * rule.decay if rule and not _spared(parameter, decay) else 0.0
        found.setdefault((_part(name), rate, decayed), []).append(parameter.numel())
    return [TunedPart(name, len(sizes), sum(sizes), rate, wd) for (name, rate, wd), sizes in found.items()]


def _part(name: str) -> str:
    """The tower or module that a parameter is in, and its kind where blocks hold parts of several methods."""
    words = [w for w in name.split(".")[:-1] if not w.isdigit() and w not in ("transformer", "resblocks")]
    kept = (
        words[:2]
        if len(words) > 1 and words[1].startswith(("message", "stem", "temporal", "cross", "decoder"))
        else words[:1]
    )
    return ".".join(kept) + (".VPT_shallow" if name.endswith("VPT_shallow") else "")


def _spared(parameter: nn.Parameter, decay: Decay) -> bool:
    return decay == "matrices" and parameter.ndim < 2


def param_groups(model: nn.Module, tunes: Sequence[Tune], weight_decay: float, decay: Decay) -> list[dict[str, Any]]:
    """Group what trains by rate and decay, for an optimizer: each group has `params`, `lr_scale`, `weight_decay`.

    Args:
        weight_decay: the decay of ordinary tensors.
        decay: "all" decays every tensor (EVL and ViFi-CLIP as released); "matrices" spares vectors and scalars.
    """
    parameters = dict(model.named_parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, rule in select(model, tunes).items():
        parameter = parameters[name]
        decayed = 0.0 if _spared(parameter, decay) else weight_decay * rule.decay
        groups.setdefault((rule.lr_scale, decayed), []).append(parameter)
    return [{"params": p, "lr_scale": scale, "weight_decay": wd} for (scale, wd), p in groups.items()]
