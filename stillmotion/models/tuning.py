"""Which parameters train, and how fast: one ordered list of name patterns per method."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

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
        spared = decay == "matrices" and parameter.ndim < 2
        groups.setdefault((rule.lr_scale, 0.0 if spared else weight_decay * rule.decay), []).append(parameter)
    return [{"params": p, "lr_scale": scale, "weight_decay": wd} for (scale, wd), p in groups.items()]
