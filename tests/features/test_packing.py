"""Tokens in one byte: half the room, errors of half a step of their own channel, found again by training and `eval`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stillmotion import experiment
from stillmotion.backbones.load import load_backbone
from stillmotion.checkpoint import Card, read_card
from stillmotion.cli import main
from stillmotion.data.bad import BadVideos
from stillmotion.data.manifest import read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.data.transforms import Preprocess
from stillmotion.features.care import kept, verify
from stillmotion.features.encode import Encoder, encode, plan, views_of
from stillmotion.features.packing import pack, unpack
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import Digests
from stillmotion.methods import EVL
from stillmotion.models.features import Features, Reads
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train

READS = Reads(frames=True, out=(1, 2), affinity=(2,))


def test_the_error_is_half_a_step_of_the_channel() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(4, 17, 64)
    tokens[..., 5] *= 100
    tokens[..., 9] = 0
    packed = pack("out.3", tokens)
    assert packed["out.3"].dtype == torch.int8 and packed["out.3"].shape == tokens.shape
    found = unpack(packed["out.3"], packed["out.3.step"])
    assert found.dtype == torch.float16
    half_D = tokens.abs().amax((0, 1)) / 254
    assert ((found - tokens).abs() <= half_D + tokens.abs() * 2**-10).all()
    assert torch.equal(found[..., 9], torch.zeros(4, 17, dtype=torch.float16))


def filled(root: Path, clip: Path, videos: Path, stored: str) -> tuple[FeatureStore, Encoder, list[str]]:
    weights, manifest = load_backbone(str(clip)), read_manifest(videos)
    how = {"preprocess": Preprocess(size=(32, 32)), "sampling": Sampling(), "tokens": stored}
    spec = FeatureSpec(backbone=weights.fingerprint(), num_frames=4, **how)
    encoder, store, bad = (
        Encoder(weights, spec, READS, torch.device("cpu")),
        FeatureStore(root, spec),
        BadVideos(None, 9, 0.0),
    )
    views = [view for found in views_of(manifest.clips, Sampling(), bad, Digests(root)) for view in found]
    expected = plan(views, encoder, store).bytes
    encode(views, encoder, store, bad)
    size = sum(path.stat().st_size for path in store.folder.glob("*.safetensors"))
    assert expected <= size <= 1.3 * expected, "the plan said how much"
    return FeatureStore(root, spec), encoder, [item for view in views for item in view.items()]


def test_a_cache_of_packed_tokens(tmp_path: Path, tiny_clip: Path, folder_of_videos: Path) -> None:
    exact, whole, items = filled(tmp_path / "a", tiny_clip, folder_of_videos, "float16")
    packed, half, _ = filled(tmp_path / "b", tiny_clip, folder_of_videos, "int8")
    assert half.bytes_per_view < 0.8 * whole.bytes_per_view
    assert exact.spec.key != packed.spec.key
    for item in items:
        one: Features = exact.read(item, whole.gives)
        other = packed.read(item, whole.gives)
        assert not packed.lacking(item, whole.gives)
        for name in whole.gives:
            assert other[name].dtype == torch.float16
            error = (one[name].float() - other[name].float()).norm() / one[name].float().norm()
            assert (0 < error < 0.01) if name.startswith("out") else error == 0
    (line,) = kept(tmp_path / "b")
    assert set(line.outputs) == set(whole.gives) and line.about.endswith("fp32, tokens in int8")
    assert not list(verify([packed.folder]))


def test_training_and_evaluation_find_them(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, cache = Data(data=folder_of_videos), tmp_path / "cache"
    recipe = Recipe(method=EVL(num_frames=2, layers=1), train=Train(epochs=1, device="cpu"), backbone=str(tiny_clip))
    experiment.fit(replace(recipe, stored="int8"), data, Place(out=tmp_path / "run", cache=cache))
    (spec,) = cache.glob("*/spec.json")
    assert json.loads(spec.read_text())["tokens"] == "int8"
    model = tmp_path / "run" / "model.safetensors"
    assert read_card(model).stored == "int8"
    capsys.readouterr()
    main(["eval", str(model), "--data", str(folder_of_videos), "--cache", str(cache)])
    assert "videos are in the feature cache" in capsys.readouterr().err


def test_a_card_of_before_says_float16(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    recipe = Recipe(method=EVL(num_frames=2, layers=1), train=Train(epochs=1, device="cpu"), backbone=str(tiny_clip))
    experiment.fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache"))
    card = read_card(tmp_path / "run" / "model.safetensors")
    raw = json.loads(card.to_json())
    del raw["stored"]
    assert Card.from_json(raw, "old").stored == "float16"
