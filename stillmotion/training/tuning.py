"""Which parameters train, and how fast: one ordered list of name patterns per method."""

from collections.abc import Container, Mapping, Sequence
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


def rules(model: nn.Module, tunes: Sequence[Tune]) -> dict[str, Tune]:
    """The rule of each parameter that trains, by name; the others are to be frozen.
    Raises `StillmotionError`: a pattern that matches nothing (a typing error must not freeze silently).
    """
    names = [name for name, _ in model.named_parameters()]
    for tune in tunes:
        if not any(fnmatchcase(name, tune.pattern) for name in names):
            raise StillmotionError(f"tuning pattern {tune.pattern!r} matches no parameter; see named_parameters()")
    last = {name: next((t for t in reversed(tunes) if fnmatchcase(name, t.pattern)), None) for name in names}
    return {name: rule for name, rule in last.items() if rule is not None and rule.lr_scale > 0}


def freeze(model: nn.Module, trained: Container[str]) -> None:
    """Freeze every parameter but those that are named."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


class TunedPart(NamedTuple):
    """A part of a model, as far as it is tuned alike."""

    name: str
    tensors: int
    parameters: int
    lr: float  # 0: frozen
    weight_decay: float


def explain(
    model: nn.Module, trained: Mapping[str, Tune], new: Sequence[str], lr: float, weight_decay: float, decay: Decay
) -> list[TunedPart]:
    """Say for every part of a model what trains, at what rate and with what decay, and what is frozen.

    `trained` is what `rules` returns, `new` are name patterns of the parameters that the backbone does not hold.
    """
    found: dict[tuple[str, float, float], list[int]] = {}
    for name, parameter in model.named_parameters():
        rule = trained.get(name)
        rate = lr * rule.lr_scale if rule else 0.0
        decayed = weight_decay * rule.decay if rule and not _spared(parameter, decay) else 0.0
        found.setdefault((_part(name, new), rate, decayed), []).append(parameter.numel())
    return [TunedPart(name, len(sizes), sum(sizes), rate, wd) for (name, rate, wd), sizes in found.items()]


def _part(name: str, new: Sequence[str]) -> str:
    """The tower that a parameter is in, and of new ones the module in it too."""
    words = [w for w in name.split(".") if not w.isdigit() and w not in ("transformer", "resblocks")]
    return ".".join(words[:2] if any(fnmatchcase(name, pattern) for pattern in new) else words[:1])


def _spared(parameter: nn.Parameter, decay: Decay) -> bool:
    return decay == "matrices" and parameter.ndim < 2


def param_groups(
    model: nn.Module, trained: Mapping[str, Tune], weight_decay: float, decay: Decay
) -> list[dict[str, Any]]:
    """Group what trains by rate and decay, for an optimizer: each group has `params`, `lr_scale`, `weight_decay`.

    The decay "all" is of every tensor (EVL and ViFi-CLIP as released); "matrices" spares vectors and scalars.
    """
    parameters = dict(model.named_parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, rule in trained.items():
        decayed = 0.0 if _spared(parameters[name], decay) else weight_decay * rule.decay
        groups.setdefault((rule.lr_scale, decayed), []).append(parameters[name])
    return [{"params": p, "lr_scale": scale, "weight_decay": wd} for (scale, wd), p in groups.items()]
