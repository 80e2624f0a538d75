"""Values that no run can have: each is one line that says the rule, and exit code 2, before anything is read."""

from pathlib import Path

import pytest

from stillmotion.cli import main
from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError
from stillmotion.methods import METHODS, LinearProbe
from stillmotion.recipes.base import Recipe
from stillmotion.training.config import Train

VALUES = [
    ("--lr", "nan", "lr is nan; it must be a finite number"),
    ("--lr", "inf", "lr is inf; it must be a finite number"),
    ("--lr", "0", "lr is 0.0; it must be above 0"),
    ("--weight-decay", "nan", "weight-decay is nan; it must be a finite number"),
    ("--weight-decay", "-0.1", "weight-decay is -0.1; it must be at least 0"),
    ("--warmup", "nan", "warmup is nan; it must be at least 0"),
    ("--save-minutes", "nan", "save-minutes is nan; it must be at least 0"),
    ("--workers", "-1", "workers is -1; it must be at least 0, or left out"),
    ("--batch-size", "0", "batch-size is 0; it must be above 0"),
    ("--micro-batch", "0", "micro-batch is 0; it must be above 0, or left out"),
    ("--epochs", "0", "epochs is 0; it must be above 0"),
    ("--label-smoothing", "1", "label-smoothing is 1.0; it must be in [0, 1)"),
    ("--label-smoothing", "nan", "label-smoothing is nan; it must be in [0, 1)"),
    ("--stride", "0", "stride is 0; it must be at least 1"),
    ("--views", "0", "views is 0; it must be at least 1"),
    ("--val-fraction", "1.5", "val-fraction is 1.5; it must be above 0 and below 1"),
    ("--val-fraction", "nan", "val-fraction is nan; it must be above 0 and below 1"),
    ("--max-bad", "-1", "max-bad is -1.0; it must be in [0, 1]"),
    ("--max-bad", "nan", "max-bad is nan; it must be in [0, 1]"),
    ("--num-frames", "0", "num-frames is 0; it must be at least 1"),
    ("--cached-views", "-1", "cached-views is -1; it must be at least 0"),
    ("--flip", "1.5", "flip is 1.5; it must be in [0, 1]"),
    ("--layers", "0", "layers is 0; it must be at least 1"),
    ("--dropout", "2", "dropout is 2.0; it must be in [0, 1)"),
    ("--clip-grad", "0", "clip-grad is 0.0; it must be above 0, or left out"),
    ("--betas", "0.9 1.5", "betas are (0.9, 1.5); they must be in [0, 1)"),
    ("--flip", "nan", "flip is nan; it must be in [0, 1]"),
]


@pytest.mark.parametrize(("option", "value", "message"), VALUES)
def test_impossible_values(capsys: pytest.CaptureFixture[str], option: str, value: str, message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "evl", "--data", "x", option, *value.split()])
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert message in " ".join(err.split())


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if hasattr(kind, "dropout")])
def test_every_probe_refuses_an_impossible_dropout(name: str) -> None:
    for dropout in (2.0, -0.1, float("nan")):
        with pytest.raises(StillmotionError, match=r"dropout is .*; it must be in \[0, 1\)"):
            METHODS[name](dropout=dropout)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_needs_a_frame(method: str) -> None:
    with pytest.raises(StillmotionError, match="num-frames is 0; it must be at least 1"):
        METHODS[method](num_frames=0)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    data = Data(data=Path("x"), max_bad=1)
    recipe = Recipe(method=LinearProbe(num_frames=1), train=Train(workers=0), flip=1, cached_views=0)
    assert Sampling(stride=1, views=1) == Sampling(stride=1)
    assert (recipe.flip, data.max_bad, Data(data=Path("x"), max_bad=0).max_bad) == (1, 1, 0)


def test_published_numbers_are_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "evl_k400_b16_8f", "--data", "x", "--published", "99"])
    assert (stop.value.code, "unknown option --published" in capsys.readouterr().err) == (2, True)
    with pytest.raises(SystemExit):
        main(["train", "evl_k400_b16_8f", "--help"])
    assert "published" not in capsys.readouterr().out
