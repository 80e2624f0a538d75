"""The worked example of docs/adding-a-backbone.md trains, and its model loads."""

from pathlib import Path
from typing import Any

import pytest

from stillmotion.backbones.load import KINDS, load_backbone
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.experiment import fit
from stillmotion.methods import EVL, AttentiveProbe, LinearProbe, Step
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from tests.methods.frozen import assert_predicts_the_same
from tests.test_docs import blocks


@pytest.fixture
def colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillmotion.backbones.load.KINDS", dict(KINDS))
    (code,) = blocks("docs/adding-a-backbone.md")
    exec(code, {"__name__": "example"})


@pytest.mark.usefixtures("colors")
@pytest.mark.parametrize(
    "method", [LinearProbe(num_frames=2), Step(num_frames=2, heads=1), AttentiveProbe(num_frames=2, heads=1)]
)
def test_trains_and_loads(method: Any, tmp_path: Path, folder_of_videos: Path) -> None:
    train = Train(lr=1e-2, epochs=1, batch_size=4, device="cpu", workers=0)
    recipe = Recipe(method=method, train=train, backbone="colors:16")
    result = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache"))
    assert_predicts_the_same(result, method)


@pytest.mark.usefixtures("colors")
def test_what_it_lacks_is_refused() -> None:
    backbone = load_backbone("colors:16").backbone
    with pytest.raises(StillmotionError, match="gives no 'affinity' here, frames, out alone; pass --no"):
        EVL(layers=1).build(backbone, ["a"])
    with pytest.raises(WeightsError, match="smaller than one"):
        load_backbone("colors:16", image_size=8)


def test_it_is_gone_without_its_module() -> None:
    with pytest.raises(WeightsError):
        load_backbone("colors:16")
