"""Rare classes: drawn as often as others, or their logits adjusted by their share; both go on to the same bits."""

import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError
from stillmotion.experiment import fit
from stillmotion.methods import LinearProbe
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training import loop
from stillmotion.training.config import Train
from stillmotion.training.objective import CrossEntropy, make_objective

TRAIN = Train(lr=1e-3, epochs=3, batch_size=3, device="cpu", workers=0, save_minutes=1e9)


def test_logit_adjustment_by_hand() -> None:
    """Shares 3/4 and 1/4, tau 2: ln 3 apart becomes 2 ln 3 = ln 9 in favor of the frequent class, in training."""
    objective = make_objective("cross_entropy", (6, 2), replace(TRAIN, logit_adjustment=2.0))
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(9)]])
    losses = objective.losses(logits, torch.tensor([1, 1]))
    # The rare class: 1 / (1 + 9), and 9 / (9 + 9) where the model gives it ln 9 more.
    assert losses.tolist() == pytest.approx([math.log(10), math.log(2)], abs=1e-6)
    assert objective.losses(logits, torch.tensor([0, 0])).tolist() == pytest.approx([math.log(10 / 9), math.log(2)])
    soft = objective.losses(logits[:1], torch.tensor([[0.5, 0.5]]))
    assert soft.item() == pytest.approx(0.5 * math.log(10) + 0.5 * math.log(10 / 9)), "mixed labels are adjusted alike"
    plain = make_objective("cross_entropy", (6, 2), TRAIN)
    assert isinstance(plain, CrossEntropy) and plain.adjust is None


def test_what_is_refused() -> None:
    adjusted = replace(TRAIN, logit_adjustment=1.0)
    with pytest.raises(StillmotionError, match="1 of 3 classes have no training clips"):
        make_objective("cross_entropy", (6, 0, 2), adjusted)
    with pytest.raises(StillmotionError, match="no --logit-adjustment"):
        make_objective("contrastive", (6, 2), adjusted)
    with pytest.raises(StillmotionError, match="pass one of the two"):
        replace(adjusted, sampler="balanced")
    with pytest.raises(StillmotionError, match="logit-adjustment is -1"):
        replace(TRAIN, logit_adjustment=-1.0)
    with pytest.raises(StillmotionError, match="logit-adjustment is nan"):
        replace(TRAIN, logit_adjustment=math.nan)


@pytest.fixture
def rare(folder_of_videos: Path, tmp_path: Path) -> Data:
    """Five clips of one class and two of the other to train on, and one of each to validate on."""
    left, right = (sorted((folder_of_videos / name).glob("*.mp4")) for name in ("left", "right"))
    for part, chosen in (("train", left[:5] + right[:2]), ("val", left[5:] + right[5:])):
        (tmp_path / f"{part}.txt").write_text("".join(f"{p} {p.parent.name}\n" for p in chosen))
    return Data(data=tmp_path / "train.txt", val=tmp_path / "val.txt")


@pytest.mark.parametrize("how", [{"sampler": "balanced"}, {"logit_adjustment": 1.0}])
def test_stopped_at_any_step_the_bits_are_the_same(
    how: dict[str, Any], rare: Data, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(method=LinearProbe(num_frames=2), train=replace(TRAIN, **how), backbone=str(tiny_clip))

    def final(name: str, recipe: Recipe[Any] = recipe) -> dict[str, torch.Tensor]:
        fit(recipe, rare, Place(out=tmp_path / name))
        return load_file(tmp_path / name / "model.safetensors")

    whole, plain = final("whole"), final("plain", replace(recipe, train=TRAIN))
    assert not torch.equal(whole["head.2.weight"], plain["head.2.weight"])
    step = loop.Trainer._step
    for at in (0, 4, 7):

        def interrupt(self: loop.Trainer, number: int, *rest: Any, at: int = at) -> Any:
            if number == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(self, number, *rest)

        monkeypatch.setattr(loop.Trainer, "_step", interrupt)
        with pytest.raises(loop.Stopped):
            final(f"stopped{at}")
        monkeypatch.setattr(loop.Trainer, "_step", step)
        resumed = final(f"stopped{at}")
        assert all(torch.equal(whole[name], resumed[name]) for name in whole), at
