"""What every method on a frozen CLIP's tokens is put through: EVL's cache, two epochs, a file, the same predictions."""

import json
from pathlib import Path

import pytest

import stillmotion
from stillmotion.checkpoint import read_card
from stillmotion.data.source import Data
from stillmotion.experiment import Result, fit
from stillmotion.features.encode import Encoder
from stillmotion.methods import EVL, Method
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train

TRAIN = Train(lr=1e-3, epochs=2, batch_size=4, device="cpu", workers=0)


def train_from_evls_cache(
    method: Method, videos: Path, clip: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Result:
    """Train a method without encoding anything: EVL has filled the cache with two taps, the last block among them."""

    def run(method: Method, name: str) -> Result:
        recipe = Recipe(method=method, train=TRAIN, backbone=str(clip))
        return fit(recipe, Data(data=videos), Place(out=folder / name, cache=folder / "cache"))

    run(EVL(num_frames=method.num_frames, layers=2), "evl")
    (cache,) = (p for p in (folder / "cache").iterdir() if p.is_dir())
    held = {name for index in cache.glob("shard-*.json") for name in json.loads(index.read_text())["outputs"]}
    assert held == {"out.1", "out.2", "affinity.1", "affinity.2", "frames"}, "frames are kept beside the last tokens"
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", lambda *_: pytest.fail("encoded again"))
        result = run(method, "probe")
    assert [p for p in (folder / "cache").iterdir() if p.is_dir()] == [cache], "it has no cache of its own"
    return result


def assert_predicts_the_same(result: Result, method: Method) -> None:
    """The loaded model, on pixels, gives the probabilities of the trained one, on features, up to float16."""
    lines = [json.loads(line) for line in (result.folder.path / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == result.report.scored > 0
    assert read_card(result.folder.model).method == method
    classifier = stillmotion.load(result.folder.model, device="cpu")
    for line in lines:
        scores = classifier(line["path"]).scores
        found = [scores[name] for name in result.report.classes]
        assert found == pytest.approx(line["probabilities"], abs=1e-4)
