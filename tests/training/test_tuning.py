import pytest
import torch
from torch import nn

from stillmotion.errors import StillmotionError
from stillmotion.training.tuning import Tune, param_groups, rules
from tests.conftest import select


def model() -> nn.Module:
    return nn.ModuleDict({"visual": nn.Linear(2, 3), "head": nn.Linear(3, 4)})


def test_the_last_match_wins_and_the_rest_is_frozen() -> None:
    net = model()
    rules = select(net, [Tune("*"), Tune("visual.*", 0), Tune("visual.bias", 0.5)])
    assert {n: r.lr_scale for n, r in rules.items()} == {"visual.bias": 0.5, "head.weight": 1.0, "head.bias": 1.0}
    assert not net["visual"].weight.requires_grad
    assert net["visual"].bias.requires_grad


def test_a_pattern_must_match_something() -> None:
    with pytest.raises(StillmotionError, match=r"tuning pattern 'vsual\.\*' matches no parameter"):
        select(model(), [Tune("vsual.*")])


@pytest.mark.parametrize(("decay", "spared"), [("all", set()), ("matrices", {"visual.bias", "head.bias"})])
def test_groups(decay: str, spared: set[str]) -> None:
    net = model()
    groups = param_groups(net, rules(net, [Tune("*"), Tune("head.*", 10, 2)]), 0.1, decay)
    names = {id(p): n for n, p in net.named_parameters()}
    found = {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert found.keys() == {n for n, _ in net.named_parameters()}
    for name, (scale, wd) in found.items():
        assert scale == (10 if name.startswith("head") else 1)
        assert wd == (0 if name in spared else 0.2 if name.startswith("head") else 0.1)
    torch.optim.AdamW(groups, lr=1.0)
