"""A model in parts on two processes (FSDP2): what is saved is whole, so that any number of processes goes on with it.

That its losses, gradients and scores are those of one process is in `test_processes.py`, method by method.
"""

import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from stillmotion.data.source import Data
from stillmotion.devices import accelerate_on
from stillmotion.errors import StillmotionError
from stillmotion.experiment import fit
from stillmotion.methods import ViFiCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.learner import Learner
from stillmotion.training.loop import Stopped
from tests.processes import run_two
from tests.training.test_processes import TRAIN, losses

SCRIPT = (
    "import sys\nfrom pathlib import Path\nfrom tests.training.test_shards import run\n"
    "if __name__ == '__main__':\n"
    "    run(*map(Path, sys.argv[1:4]), int(sys.argv[4]), bool(int(sys.argv[5])))\n"
)


def run(videos: Path, clip: Path, out: Path, stop_at: int, sharded: bool) -> None:
    """Train, and be told to stop in a step; states are saved in every step, the best epoch is kept."""
    train = replace(TRAIN, epochs=3, save_minutes=0.0, keep="best", clip_grad=0.1)
    update = Learner.update

    def told(self: Learner, step: int, *asked: bool) -> tuple[float, list[bool]]:
        parts = [p for p in self._learns.parameters() if isinstance(p, DTensor)]
        assert bool(parts) is sharded and all(p.to_local().numel() < p.numel() for p in parts if len(p) > 1)
        if step == stop_at and self.plan.rank == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, step, *asked)

    recipe = Recipe(method=ViFiCLIP(num_frames=2), train=train, backbone=str(clip))
    with suppress(Stopped), patch.object(Learner, "update", told):
        fit(recipe, Data(data=videos), Place(out=out))


@pytest.mark.parametrize("first", [1, 2])
def test_a_run_goes_on_with_another_number_of_processes(
    first: int, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(SCRIPT)

    def go(processes: int, out: Path, stop_at: int) -> None:
        if processes == 1:
            run(folder_of_videos, tiny_clip, out, stop_at, sharded=False)
        else:
            run_two(tmp_path / "job.py", folder_of_videos, tiny_clip, out, str(stop_at), "1", sharded=True)

    go(1, tmp_path / "whole", -1)
    go(first, tmp_path / "cut", 2)
    assert (tmp_path / "cut" / "state.pt").exists() and not (tmp_path / "cut" / "results.json").exists()
    before = losses(tmp_path / "cut")
    go(3 - first, tmp_path / "cut", -1)
    expected, found = losses(tmp_path / "whole"), losses(tmp_path / "cut")
    assert found[: len(before)] == before and len(before) in (3, 4), "those steps were not taken again"
    assert len(found) == 6 and found == pytest.approx(expected, abs=1e-5)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut")]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert (tensor - weights[1][name]).abs().max() <= 2e-5, name
    kept = [json.loads((tmp_path / name / "results.json").read_text())["epoch"] for name in ("whole", "cut")]
    assert kept[0] == kept[1]


def test_the_first_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(StillmotionError, match="FSDP version 1 is not supported; pass --fsdp_version 2"):
        accelerate_on("cpu")
