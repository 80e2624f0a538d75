"""What `fit` does once, and what it refuses before it does anything long."""

import json
from pathlib import Path

import pytest
import torch

from stillmotion import experiment
from stillmotion.backbones.load import load_backbone
from stillmotion.cli import main
from stillmotion.data.bad import BadVideos
from stillmotion.data.manifest import read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError
from stillmotion.features.encode import Encoder, plan, views_of
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import Digests
from stillmotion.methods import EVL
from stillmotion.models.features import Reads
from stillmotion.recipes.base import Place, Recipe
from stillmotion.train.config import Train


@pytest.mark.parametrize(("every", "scored"), [(1, 3), (2, 2), (0, 1)])
def test_validation_is_scored_once_at_the_end(
    every: int, scored: int, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every epoch that is asked for; the last one's numbers are those of the result."""
    calls: list[int] = []
    whole = experiment.score
    monkeypatch.setattr(experiment, "score", lambda *a, **k: calls.append(1) or whole(*a, **k))
    train = Train(lr=1e-3, epochs=3, batch_size=4, device="cpu", eval_every=every)
    recipe = Recipe(method=EVL(num_frames=2, layers=1), train=train, backbone=str(tiny_clip))
    result = experiment.fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "r", cache=tmp_path / "c"))
    assert len(calls) == scored
    lines = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "top1" in line]
    assert len(last) == scored
    assert (last[-1]["epoch"], last[-1]["top1"]) == (3, result.report.top1)


def test_what_does_not_train_is_refused_before_anything_is_encoded(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(Encoder, "encode", lambda *_: pytest.fail("encoded"))
    with pytest.raises(SystemExit):
        main(["train", "zero_shot", "--data", str(folder_of_videos), "--backbone", str(tiny_clip),
              "--out", str(tmp_path / "r")])  # fmt: skip
    assert "nothing of this method trains" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_folder_named_like_a_tag_hides_no_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stillmotion.weights import hub

    def fetch(model: str, tag: str) -> Path:
        raise WeightsError(f"asked for {model}:{tag}")

    monkeypatch.setattr(hub, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai").mkdir()
    with pytest.raises(WeightsError, match="asked for ViT-B-16:openai"):
        load_backbone("ViT-B-16:openai")
    with pytest.raises(WeightsError, match=r"folder openai holds no model\.safetensors"):
        load_backbone("ViT-B-16:./openai")


@pytest.mark.parametrize("name", ["auto", "ViT-B-16:openai-int8", "ViT-B-16:openai", "ViT-B-16:{file}"])
def test_sizes_that_would_be_ignored_are_refused(name: str, tiny_clip: Path) -> None:
    with pytest.raises(WeightsError, match=r"vision_heads go with a local file; .* leave them out"):
        load_backbone(name.format(file=tiny_clip), vision_heads=2)


def test_types_are_for_others_too() -> None:
    assert (Path(experiment.__file__).parent / "py.typed").is_file()


def test_the_plan_counts_affinities_and_shares_them_out(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured is the tower with all outputs of the method; processes share the time."""
    weights, manifest = load_backbone(str(tiny_clip)), read_manifest(folder_of_videos)
    spec = FeatureSpec(
        backbone=weights.fingerprint(), num_frames=4, preprocess=Preprocess(size=(32, 32)), sampling=Sampling()
    )
    encoder = Encoder(weights, spec, Reads(out=(2,), affinity=(2,)), torch.device("cpu"))
    assert encoder.encode(torch.zeros(1, 4, 3, 32, 32)).keys() == {"out.2", "affinity.2"}
    views = [v for c in views_of(manifest.clips, Sampling(), BadVideos(None, 12, 0), Digests(None)) for v in c]
    monkeypatch.setattr(Encoder, "measure", lambda _: 10.0)
    store = FeatureStore(tmp_path, spec)
    assert [plan(views, encoder, store, processes).seconds for processes in (1, 4)] == [120.0, 30.0]
