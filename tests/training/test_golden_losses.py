"""Twenty steps of every objective, against the losses they had when they were checked: any change of a recipe shows.

STILLMOTION_WRITE_GOLDEN=1 pytest tests/training/test_golden_losses.py writes the curves anew; say in the change why
they moved.
"""

import json
import os
from pathlib import Path

import pytest

from stillmotion.data.source import Data
from stillmotion.experiment import fit
from stillmotion.methods import EVL, XCLIP, ActionCLIP, Method, ViFiCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from tests.golden.recipe import HERE

CURVES = HERE / "losses.json"
TOLERANCE = 2e-4  # processors round differently; halving a rate or leaving out a decay moves a curve by more
COMMON = {"batch_size": 4, "epochs": 10, "device": "cpu", "workers": 0, "eval_every": 0}
FINE_TUNING = {"lr": 1e-4, "betas": (0.9, 0.98), "warmup": 2, "schedule": "overlaid_cosine", "label_smoothing": 0.1}
CASES: dict[str, tuple[Method, Train]] = {
    "cross_entropy": (EVL(num_frames=4, layers=2), Train(lr=1e-3, **COMMON)),
    "mixed": (ViFiCLIP(num_frames=2), Train(mix=True, **FINE_TUNING, **COMMON)),
    "video_prompts": (XCLIP(num_frames=2), Train(decay="matrices", weight_decay=0.5, **FINE_TUNING, **COMMON)),
    "contrastive": (ActionCLIP(num_frames=2, layers=1), Train(lr=1e-3, weight_decay=0.5, warmup=1, **COMMON)),
}


def curve(name: str, data: Path, clip: Path, out: Path) -> list[float]:
    method, train = CASES[name]
    recipe = Recipe(method=method, train=train, backbone=str(clip))
    fit(recipe, Data(data=data), Place(out=out / name, cache=out / "cache"))
    lines = [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()]
    return [round(line["loss"], 5) for line in lines if "loss" in line]


@pytest.mark.golden
@pytest.mark.parametrize("name", CASES)
def test_losses(name: str, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    losses = curve(name, folder_of_videos, tiny_clip, tmp_path)
    if os.environ.get("STILLMOTION_WRITE_GOLDEN"):
        known = json.loads(CURVES.read_text()) if CURVES.is_file() else {}
        CURVES.write_text(json.dumps(known | {name: losses}) + "\n")
    assert len(losses) >= 20
    assert losses == pytest.approx(json.loads(CURVES.read_text())[name], abs=TOLERANCE)
