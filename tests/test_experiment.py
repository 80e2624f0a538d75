"""What `fit` does once, and what it refuses before it does anything long."""

import errno
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stillmotion import experiment, held_out
from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.load import load_backbone
from stillmotion.checkpoint import read_card
from stillmotion.cli import main
from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import Batch
from stillmotion.data.manifest import read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import DiskError, StillmotionError, WeightsError
from stillmotion.features.encode import Encoder, plan, views_of
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import Digests, atomic_write
from stillmotion.methods import EVL, METHODS, LinearProbe
from stillmotion.methods.actionclip import ShiftBlock
from stillmotion.models.features import Reads
from stillmotion.models.video_clip import LinearHead, MeanPool, VideoCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.batches import BatchPlan
from stillmotion.training.config import Train
from stillmotion.training.learner import Learner
from stillmotion.training.objective import CrossEntropy
from stillmotion.training.tuning import Tune


@pytest.mark.parametrize(("every", "scored"), [(1, 3), (2, 2), (0, 1)])
def test_validation_is_scored_once_at_the_end(
    every: int, scored: int, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every epoch that is asked for; the last one's numbers are those of the result."""
    calls: list[int] = []
    whole = held_out.score_orders
    monkeypatch.setattr(held_out, "score_orders", lambda *a, **k: calls.append(1) or whole(*a, **k))
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
    assert encoder.encode(torch.zeros(1, 4, 3, 32, 32)).keys() == {"frames", "out.2", "affinity.2"}
    views = [v for c in views_of(manifest.clips, Sampling(), BadVideos(None, 12, 0), Digests(None)) for v in c]
    monkeypatch.setattr(Encoder, "measure", lambda _: 10.0)
    store = FeatureStore(tmp_path, spec)
    assert [plan(views, encoder, store, processes).seconds for processes in (1, 4)] == [120.0, 30.0]


def test_a_frozen_tower_is_as_it_came(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """A method of one's own that changes the tower and calls it frozen would train on outputs of another one."""

    @dataclass(frozen=True, kw_only=True)
    class Shifted(LinearProbe):
        def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
            tower = backbone.visual(self.reads(), block=ShiftBlock)
            return VideoCLIP(tower, MeanPool(), LinearHead(backbone.embed_dim, len(class_names)))

    METHODS["shifted"] = Shifted
    try:
        recipe = Recipe(method=Shifted(num_frames=2), train=Train(device="cpu"), backbone=str(tiny_clip))
        with pytest.raises(StillmotionError, match="Shifted changes the image tower and says that it is frozen"):
            experiment.fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "r", cache=tmp_path / "c"))
    finally:
        del METHODS["shifted"]


def test_a_run_goes_on_with_its_own_weights_and_videos_alone(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    """By content: a moved file of weights is the same run, other weights or another video under the name are not."""
    videos, weights, place = tmp_path / "videos", tmp_path / "clip.safetensors", Place(out=tmp_path / "r")
    shutil.copytree(folder_of_videos, videos)
    shutil.copy(tiny_clip, weights)
    recipe = Recipe(method=EVL(num_frames=2, layers=1), train=Train(epochs=1, device="cpu"), backbone=str(weights))
    experiment.fit(recipe, Data(data=videos), place)
    moved = replace(recipe, backbone=str(weights.rename(tmp_path / "moved.safetensors")))
    assert experiment.fit(moved, Data(data=videos), place, keep=True).report.scored == 2
    state = load_file(moved.backbone)
    save_file(state | {"visual.proj": state["visual.proj"] + 1}, moved.backbone)
    with pytest.raises(StillmotionError, match=r"other settings \(backbone was"):
        experiment.fit(moved, Data(data=videos), place, keep=True)
    shutil.copy(tiny_clip, moved.backbone)
    one = videos / "left" / "source0_0.mp4"
    one.write_bytes(one.read_bytes() + b"\0")
    with pytest.raises(StillmotionError, match=r"other settings \(other clips"):
        experiment.fit(moved, Data(data=videos), place, keep=True)


def test_results_without_their_configuration_are_nobodys(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    place, data = Place(out=tmp_path / "r", cache=tmp_path / "c"), Data(data=folder_of_videos)
    recipe = Recipe(method=EVL(num_frames=2, layers=1), train=Train(epochs=1, device="cpu"), backbone=str(tiny_clip))
    experiment.fit(recipe, data, place)
    (tmp_path / "r" / "config.json").unlink()
    with pytest.raises(StillmotionError, match=r"of a run without its config\.json; choose another --out"):
        experiment.fit(recipe, data, place, keep=True)
    experiment.fit(recipe, data, replace(place, overwrite=True))


def test_running_statistics_are_frozen_with_their_tower_and_saved_with_a_run() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual, self.head = nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))

        def forward(self, views: Tensor, text: Tensor | None) -> Tensor:
            return self.head(self.visual(views))

    def learner() -> Learner:
        torch.manual_seed(0)
        plan = BatchPlan(8, 4, None, 2, 0)
        train = Train(epochs=2, device="cpu")
        return Learner(Net(), (Tune("head.*"),), CrossEntropy(2), train, plan, Accelerator(cpu=True))

    def step(taught: Learner, number: int) -> None:
        views = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        taught.accumulate(Batch(torch.arange(4), torch.tensor([0, 1, 0, 1]), views, 1, []), number, 0)
        taught.update(number)

    whole, stopped = learner(), learner()
    for number in range(4):
        step(whole, number)
    step(stopped, 0)
    state, stopped = stopped.state(), learner()
    stopped.load(state)
    for number in range(1, 4):
        step(stopped, number)
    kept, again = whole.model.state_dict(), stopped.model.state_dict()
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    assert torch.equal(kept["visual.running_mean"], torch.zeros(3)) and kept["head.0.running_mean"].abs().max() > 0


def test_a_runtime_by_name_is_part_of_the_cache_and_of_the_model(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """bf16 has a cache of its own, which `eval` finds again; an unknown one is refused in one line."""
    data, cache = Data(data=folder_of_videos), tmp_path / "c"
    recipe = Recipe(method=EVL(num_frames=2, layers=1), train=Train(epochs=1, device="cpu"), backbone=str(tiny_clip))
    experiment.fit(recipe, data, Place(out=tmp_path / "a", cache=cache))
    experiment.fit(replace(recipe, runtime="bf16"), data, Place(out=tmp_path / "b", cache=cache))
    specs = sorted(json.loads(p.read_text())["runtime"] for p in cache.glob("*/spec.json"))
    assert specs == ["bf16", "fp32"]
    assert [read_card(tmp_path / n / "model.safetensors").runtime for n in "ab"] == ["fp32", "bf16"]
    capsys.readouterr()
    main(["eval", str(tmp_path / "b" / "model.safetensors"), "--data", str(folder_of_videos), "--cache", str(cache)])
    assert "videos are in the feature cache" in capsys.readouterr().err
    with pytest.raises(StillmotionError, match="there is no runtime 'int9'"):
        experiment.fit(replace(recipe, runtime="int9"), data, Place(out=tmp_path / "d", cache=cache))


def test_an_image_tower_alone_has_openais_temperature(tiny_image_tower: Path, tiny_clip: Path) -> None:
    """Its probabilities would be those of an untrained temperature otherwise."""
    assert load_backbone(str(tiny_image_tower)).state["logit_scale"].exp() == pytest.approx(100)
    assert load_backbone(str(tiny_clip)).state["logit_scale"] == 2


def test_a_disk_that_becomes_read_only_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is hidden in a library's, and the temporary file cannot be removed either."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DiskError, match=r"no right to write .*x; choose another folder"):
        with atomic_write(tmp_path / "x"):
            raise RuntimeError("Error while serializing: I/O error: Read-only file system (os error 30)")
