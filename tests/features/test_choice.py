"""The fastest runtime that is faithful, chosen once for a cache; what is far from float32 is not used."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stillmotion import experiment
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.runtimes import probe
from stillmotion.backbones.weights import Weights
from stillmotion.checkpoint import read_card
from stillmotion.data.manifest import Clip, read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import StillmotionError
from stillmotion.features import choice
from stillmotion.features.choice import Trial, choose, decide, measure
from stillmotion.features.store import FeatureSpec
from stillmotion.methods import LinearProbe
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training import loop
from stillmotion.training.config import Train

pytestmark = pytest.mark.skipif(not probe.runs("int8"), reason="this machine cannot run 8-bit products")


@pytest.fixture(scope="module")
def weights(tiny_clip: Path) -> Weights:
    return load_backbone(str(tiny_clip))


@pytest.fixture
def clips(folder_of_videos: Path) -> tuple[Clip, ...]:
    return read_manifest(folder_of_videos).clips


@pytest.fixture(autouse=True)
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A tower that is worth a choice, and how fast each runtime seems to be."""
    found = {"int8": 3.0, "bf16": 2.0}
    names = iter([])

    def speed(exact: object, run: object, video: object) -> float:
        nonlocal names
        name = next(names, None)
        if name is None:
            names = iter(choice.ENOUGH)
            name = next(names)
        return found[name]

    monkeypatch.setattr(choice, "SMALL", 0)
    monkeypatch.setattr(choice, "_speed", speed)
    return found


def spec_of(weights: Weights) -> FeatureSpec:
    how = {"preprocess": Preprocess(size=(32, 32)), "sampling": Sampling()}
    return FeatureSpec(backbone=weights.fingerprint(), num_frames=4, **how)


def test_the_fastest_that_is_faithful(
    weights: Weights, clips: tuple[Clip, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = measure(weights, spec_of(weights), clips)
    assert trials is not None and [trial.runtime for trial in trials] == ["int8", "bf16"]
    assert all(0.99 < trial.frames < 1 and 0.99 < trial.tokens < 1 for trial in trials)
    assert choose(weights, spec_of(weights), clips, tmp_path) == "int8"
    assert "int8 is 3.0 times as fast as fp32 here" in capsys.readouterr().err
    kept = json.loads((tmp_path / "runtimes.json").read_text())[weights.fingerprint()]
    assert kept["runtime"] == "int8" and [trial["speed"] for trial in kept["trials"]] == [3.0, 2.0]


def test_what_is_far_from_float32_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    far, near = Trial("int8", 3.0, 0.998, 0.999), Trial("bf16", 1.9, 0.9999, 0.999)
    assert decide([far, near]) is near
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: int8 is 3.0 times as fast as fp32 here, with cosines of 0.9980 (frames)" in said
    assert "is too far from it; it is not used" in said
    assert decide([far]) is None
    assert decide([replace(near, tokens=0.9)]) is None
    assert decide([replace(near, speed=1.1)]) is None, "not worth its rounding"


def test_a_choice_stays_with_the_cache(
    weights: Weights, clips: tuple[Clip, ...], tmp_path: Path, speeds: dict[str, float]
) -> None:
    assert choose(weights, spec_of(weights), clips, tmp_path) == "int8"
    speeds["int8"] = 0.5
    assert choose(weights, spec_of(weights), clips, tmp_path) == "int8", "what was computed would not be found"
    assert choose(weights, spec_of(weights), clips, tmp_path / "other") == "bf16"
    (tmp_path / "runtimes.json").write_text("[damaged")
    assert choose(weights, spec_of(weights), clips, tmp_path) == "bf16", "it is measured again"


def test_a_cache_of_float32_stays_so(weights: Weights, clips: tuple[Clip, ...], tmp_path: Path) -> None:
    spec = spec_of(weights)
    (tmp_path / spec.key).mkdir()
    (tmp_path / spec.key / "spec.json").write_text("{}")
    assert choose(weights, spec, clips, tmp_path) == "fp32"
    assert choose(weights, replace(spec, num_frames=2), clips, tmp_path) == "int8"


def test_a_small_tower_and_clips_that_cannot_be_read(
    weights: Weights, clips: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tuple(replace(clip, path=tmp_path / f"{i}.mp4") for i, clip in enumerate(clips))
    assert choose(weights, spec_of(weights), bad, tmp_path) == "fp32"
    assert not (tmp_path / "runtimes.json").exists(), "nothing was measured"
    assert choose(weights, spec_of(weights), (*bad[:3], *clips), tmp_path) == "int8"
    monkeypatch.setattr(choice, "SMALL", 10**9)
    assert choose(weights, spec_of(weights), clips, tmp_path / "other") == "fp32"


def test_a_machine_that_cannot_run_it(
    weights: Weights,
    clips: tuple[Clip, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert choose(weights, spec_of(weights), clips, tmp_path) == "int8"
    monkeypatch.setattr(choice, "usable", lambda name: name == "fp32")
    assert choose(weights, spec_of(weights), clips, tmp_path) == "fp32"
    assert "begun with int8, which this machine cannot run" in " ".join(capsys.readouterr().err.split())
    assert choose(weights, spec_of(weights), clips, tmp_path / "other") == "fp32"


def test_training_and_evaluation_use_what_was_chosen(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, cache = Data(data=folder_of_videos), tmp_path / "cache"
    train = Train(epochs=1, device="cpu", batch_size=2)
    recipe = Recipe(method=LinearProbe(num_frames=2), train=train, backbone=str(tiny_clip))
    for name in ("a", "b"):
        torch.manual_seed(0)
        experiment.fit(recipe, data, Place(out=tmp_path / name, cache=cache))
    said = capsys.readouterr().err
    assert said.count("times as fast") == 1 and "views are in the feature cache" in said
    cards = [read_card(tmp_path / name / "model.safetensors") for name in ("a", "b")]
    assert [card.runtime for card in cards] == ["int8", "int8"]
    assert [json.loads(path.read_text())["runtime"] for path in cache.glob("*/spec.json")] == ["int8"]


def test_a_runtime_that_cannot_run_this_backbone_is_named_and_left(
    weights: Weights,
    clips: tuple[Clip, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(video: torch.Tensor) -> None:
        raise StillmotionError("there is no such kernel; pass --runtime fp32")

    monkeypatch.setitem(choice.RUNTIMES, "int8", lambda tower, device: run)
    trials = measure(weights, spec_of(weights), clips)
    assert trials is not None and [trial.runtime for trial in trials] == ["bf16"]
    assert "there is no such kernel" in capsys.readouterr().err


def test_nothing_is_remembered_where_nothing_was_tried(
    weights: Weights, clips: tuple[Clip, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked what the machine can run before the tower's first product, which may fix what it can."""
    monkeypatch.setattr(choice, "usable", lambda name: False)
    monkeypatch.setattr(choice, "_made", lambda *_: pytest.fail("a tower was run"))
    assert choose(weights, spec_of(weights), clips, tmp_path) == "fp32"
    assert not (tmp_path / "runtimes.json").exists()


def test_a_run_goes_on_with_the_runtime_that_it_began_with(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though another would be chosen now: the cache is another, where float32 would be used."""
    data = Data(data=folder_of_videos)
    train = Train(epochs=2, device="cpu", batch_size=2, save_minutes=0)
    recipe = Recipe(method=LinearProbe(num_frames=2), train=train, backbone=str(tiny_clip))
    whole = experiment.fit(recipe, data, Place(out=tmp_path / "whole", cache=tmp_path / "a"))

    step, steps = loop.Trainer._step, []

    def interrupt(self: Any, number: int, *rest: Any) -> Any:
        steps.append(number)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, number, *rest)

    monkeypatch.setattr(loop.Trainer, "_step", interrupt)
    with pytest.raises(loop.Stopped):
        experiment.fit(recipe, data, Place(out=tmp_path / "run", cache=tmp_path / "a"))
    monkeypatch.setattr(choice, "usable", lambda name: False)
    found = experiment.fit(recipe, data, Place(out=tmp_path / "run", cache=tmp_path / "b"))
    assert torch.equal(found.scores.probabilities, whole.scores.probabilities)
    assert read_card(tmp_path / "run" / "model.safetensors").runtime == "int8"


def test_a_damaged_file_of_choices_is_said(
    weights: Weights, clips: tuple[Clip, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runtimes.json").write_text("[1]")
    assert choose(weights, spec_of(weights), clips, tmp_path) == "int8"
    assert "runtimes.json is damaged" in " ".join(capsys.readouterr().err.split())
