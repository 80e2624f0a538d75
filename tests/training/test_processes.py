"""Two processes take the steps of one, and score the same, whatever the method."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from safetensors.torch import load_file, save_file

from stillmotion.data.source import Data
from stillmotion.eval.report import read_predictions
from stillmotion.experiment import fit
from stillmotion.methods import (
    A5,
    EVL,
    XCLIP,
    ActionCLIP,
    AttentiveProbe,
    ChangeProbe,
    LinearProbe,
    Method,
    Step,
    ViFiCLIP,
)
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from stillmotion.training.learner import Learner
from stillmotion.training.shards import whole
from tests.processes import run_two

# Batches of five: two processes have three clips and two; and no dropout, whose draws are of a process.
TRAIN = Train(lr=3e-5, epochs=2, batch_size=5, device="cpu", workers=0)
PROMPTS: dict[str, Any] = {
    "num_frames": 2,
    "tuned": "prompts",
    "vision_prompts": 2,
    "text_prompts": 2,
    "faithful": False,
}
CASES: dict[str, tuple[Method, dict[str, Any]]] = {
    "evl": (EVL(num_frames=2, layers=2, dropout=0.0), {}),
    "step": (Step(num_frames=2, dropout=0.0), {}),
    "attentive_probe": (AttentiveProbe(num_frames=2), {}),
    "change_probe": (ChangeProbe(num_frames=4, blocks=2), {}),
    "linear_probe": (LinearProbe(num_frames=2), {"sampler": "balanced"}),
    "adjusted": (LinearProbe(num_frames=2), {"logit_adjustment": 1.0}),
    "a5": (A5(num_frames=2, layers=1), {}),
    "vificlip": (ViFiCLIP(num_frames=2), {"micro_batch": 2}),
    "image": (ViFiCLIP(num_frames=2, tuned="image"), {}),
    "text": (ViFiCLIP(num_frames=2, tuned="text"), {}),
    # Without the release's rounding to float16, which gradients go through too.
    "prompts": (ViFiCLIP(**PROMPTS), {"clip_grad": 0.1}),
    "xclip": (XCLIP(num_frames=2), {"label_smoothing": 0.1}),
    "actionclip": (ActionCLIP(num_frames=2, layers=1), {}),
    "actionclip_parts": (ActionCLIP(num_frames=2, layers=1), {"micro_batch": 1, "sampler": "balanced"}),
}


def run(name: str, videos: Path, clip: Path, out: Path) -> None:
    """Train, and keep the gradients of the first step: Adam hides their scale from all that comes after."""
    method, train = CASES[name]
    recipe = Recipe(method=method, train=replace(TRAIN, **train), backbone=str(clip))
    update = Learner.update

    def kept(self: Learner, step: int, *asked: bool) -> tuple[float, list[bool]]:
        if step == 0:
            found = {n: whole(p.grad) for n, p in self._learns.named_parameters() if p.grad is not None}
            if self.plan.rank == 0:
                save_file({n: gradient.contiguous() for n, gradient in found.items()}, out / f"{name}.safetensors")
        return update(self, step, *asked)

    with patch.object(Learner, "update", kept):
        fit(recipe, Data(data=videos), Place(out=out / name, cache=out / "cache"))


@pytest.fixture(scope="module", params=["copies", "parts"])
def two(
    request: pytest.FixtureRequest, folder_of_videos: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Every case, trained by two processes; each has a copy of what trains, or a part (FSDP2)."""
    out = tmp_path_factory.mktemp("two")
    script = out / "job.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom tests.training.test_processes import CASES, run\n"
        "if __name__ == '__main__':\n"
        "    for name in CASES:\n        run(name, *map(Path, sys.argv[1:4]))\n"
    )
    run_two(script, folder_of_videos, tiny_clip, out, sharded=request.param == "parts")
    return out


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("name", CASES)
def test_the_losses_and_the_scores_are_those_of_one(
    name: str, two: Path, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    run(name, folder_of_videos, tiny_clip, tmp_path)
    one, both = losses(tmp_path / name), losses(two / name)
    assert len(one) == 4 and both == pytest.approx(one, abs=1e-5)
    gradients = [load_file(folder / f"{name}.safetensors") for folder in (tmp_path, two)]
    assert gradients[0].keys() == gradients[1].keys() and max(g.abs().max() for g in gradients[0].values()) > 1e-3
    for tensor, gradient in gradients[0].items():
        assert (gradient - gradients[1][tensor]).abs().max() <= 1e-5, tensor
    scores = [read_predictions(folder / name / "predictions.jsonl") for folder in (tmp_path, two)]
    assert scores[0].indices.tolist() == scores[1].indices.tolist() and len(scores[0].indices) == 2
    assert (scores[0].probabilities - scores[1].probabilities).abs().max() <= 1e-5
