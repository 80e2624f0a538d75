"""What an epoch's line and the metrics say of the speed, and of waiting for data."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from stillmotion.data.dataset import Sample
from stillmotion.data.source import Data
from stillmotion.experiment import fit
from stillmotion.features.dataset import FeatureDataset
from stillmotion.methods import LinearProbe
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from stillmotion.training.pace import Pace


def test_by_hand() -> None:
    pace = Pace()
    pace.add(4, 0.5, 1.0, 0.0)
    pace.add(2, 2.0, 0.5, 1.5)
    assert str(pace) == "loss 1.000, 2 videos/s, 50 % waiting for data"
    assert str(Pace()) == "loss 0.000, 0 videos/s, 0 % waiting for data"


@pytest.mark.parametrize("slow", [0.01, 0.05])  # metrics have tenths of milliseconds
def test_a_slow_reader_is_told(
    slow: float, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    read = FeatureDataset.__getitem__

    def slowly(self: Any, key: tuple[int, int]) -> Sample:
        time.sleep(slow)
        return read(self, key)

    monkeypatch.setattr(FeatureDataset, "__getitem__", slowly)
    train = Train(lr=1e-3, epochs=2, batch_size=4, device="cpu", workers=0)
    recipe = Recipe(method=LinearProbe(num_frames=2), train=train, backbone=str(tiny_clip))
    fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["videos"] for line in steps] == [4, 4, 2, 4, 4, 2]
    assert all(line["waited"] >= slow * line["videos"] for line in steps)
    told = re.findall(r"loss ([\d.]+), ([\d.,]+) videos/s, (\d+) % waiting for data", capsys.readouterr().err)
    assert len(told) == 2
    for epoch, (loss, rate, share) in enumerate(told):
        part = steps[3 * epoch : 3 * epoch + 3]
        assert float(loss) == pytest.approx(sum(line["loss"] * line["videos"] for line in part) / 10, abs=1e-3)
        waited, spent = (sum(line[name] for line in part) for name in ("waited", "seconds"))
        assert float(rate.replace(",", "")) == pytest.approx(10 / (waited + spent), rel=0.05)
        assert float(share) == pytest.approx(100 * waited / (waited + spent), abs=2)
