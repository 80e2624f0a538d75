"""The cache holds what the decoder needs, once, safely; the plan comes first."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stillmotion.backbones.clip_files import clip_config
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.weights import Weights, load_into
from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import VideoDataset, read_views
from stillmotion.data.manifest import Manifest, read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Augment, Preprocess
from stillmotion.errors import DiskError, StillmotionError
from stillmotion.features.dataset import CachedTower, FeatureDataset
from stillmotion.features.encode import Encoder, encode, plan, views_of
from stillmotion.features.store import FeatureSpec, FeatureStore, open_store
from stillmotion.methods import EVL

PREPROCESS = Preprocess(size=(32, 32))


@pytest.fixture(scope="module")
def weights(tiny_clip: Path) -> Weights:
    return load_backbone(str(tiny_clip))


@pytest.fixture
def manifest(folder_of_videos: Path) -> Manifest:
    return read_manifest(folder_of_videos)


def spec_of(weights: Weights, **changes: object) -> FeatureSpec:
    spec = FeatureSpec(
        backbone=weights.fingerprint(), num_frames=4, preprocess=PREPROCESS, sampling=Sampling(), taps=(1, 2)
    )
    return replace(spec, **changes)


def fill(root: Path, weights: Weights, manifest: Manifest, random_views: int = 0, **changes: object):
    spec = spec_of(weights, **changes)
    encoder, store = Encoder(weights, spec, torch.device("cpu")), FeatureStore(root, spec)
    bad = BadVideos(None, len(manifest), 0.0)
    views = views_of(manifest.clips, random_views, "crop-", bad)
    flat = [v for clip in views for v in clip]
    encode(flat, encoder, store, bad, Augment("crop", PREPROCESS))
    return encoder, store, views, flat


def test_cached_features_give_the_logits_of_the_live_model(
    tmp_path: Path, weights: Weights, manifest: Manifest
) -> None:
    """Up to the rounding of float16."""
    torch.manual_seed(0)
    method = EVL(num_frames=4, layers=2)
    model = method.build(clip_config(weights), manifest.classes).eval()
    load_into(model, weights.state, new=method.new_parameters(), source="tiny")
    with torch.no_grad():
        for parameter in model.temporal.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    encoder, store, views, _ = fill(tmp_path, weights, manifest, sampling=Sampling(views=2, crops=3))
    features = FeatureDataset(store, manifest.clips, views, encoder.views_per_clip(), (1, 2), train=False)
    videos = VideoDataset(manifest, 4, Sampling(views=2, crops=3), PREPROCESS)
    a = FeatureDataset.collate([features[0, i] for i in range(3)])
    b = VideoDataset.collate([videos[0, i] for i in range(3)])
    assert (a.num_views, b.num_views) == (6, 6)
    assert a.indices.tolist() == b.indices.tolist() == [0, 1, 2]
    with torch.no_grad():
        live = model.classify(b.views)
        model.visual = CachedTower()
        cached = model.classify(a.views)
    assert live.shape == cached.shape == (18, 2)
    assert (live - cached).abs().max() < 5e-3
    assert not torch.equal(live, cached), "the cache is float16"


def test_size_is_what_the_plan_says(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    from stillmotion.backbones.config import CLIPConfig

    encoder, store, _, flat = fill(tmp_path, weights, manifest)
    expected = len(flat) * encoder.spec.bytes_per_view(clip_config(weights))
    found = sum(p.stat().st_size for p in store.folder.glob("shard-*"))
    assert expected <= found <= expected * 1.15, "headers of tiny tensors aside"
    b16 = spec_of(weights, num_frames=8, taps=(8, 9, 10, 11))
    assert b16.bytes_per_view(CLIPConfig()) == pytest.approx(14.0e6, rel=0.01)
    assert replace(b16, taps=()).bytes_per_view(CLIPConfig()) == 8192


def test_the_plan_comes_first_and_refuses_a_small_disk(
    tmp_path: Path, weights: Weights, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(weights)
    encoder, store = Encoder(weights, spec, torch.device("cpu")), FeatureStore(tmp_path / "cache", spec)
    flat = [v for clip in views_of(manifest.clips, 0, "", BadVideos(None, 12, 0)) for v in clip]
    planned = plan(flat, encoder, store)
    assert (planned.views, planned.cached) == (12, 0)
    assert "encoding 12 views" in str(planned)
    assert "free), about" in str(planned)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 0, planned.bytes // 2))
    with pytest.raises(
        DiskError, match=r"features of 12 views take .*free some space, choose another disk with --cache"
    ):
        plan(flat, encoder, store)
    assert not (tmp_path / "cache").exists()


def test_nothing_is_computed_twice(
    tmp_path: Path, weights: Weights, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, store, _, flat = fill(tmp_path, weights, manifest)
    monkeypatch.setattr(Encoder, "encode", lambda *_: pytest.fail("encoded again"))
    again = FeatureStore(tmp_path, store.spec)
    encode(flat, encoder, again, BadVideos(None, 12, 0))
    assert plan(flat, encoder, again).views == 0
    assert "all 12 views are in the feature cache" in str(plan(flat, encoder, again))


def test_moved_files_are_found_and_changed_ones_are_not(
    tmp_path: Path, weights: Weights, folder_of_videos: Path
) -> None:
    shutil.copytree(folder_of_videos, tmp_path / "a")
    encoder, store, _, _ = fill(tmp_path / "cache", weights, read_manifest(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    changed = tmp_path / "b" / "left" / "source0_0.mp4"
    changed.write_bytes((tmp_path / "b" / "right" / "source0_0.mp4").read_bytes() + b"\0")
    views = views_of(read_manifest(tmp_path / "b").clips, 0, "", BadVideos(None, 12, 0))
    missing = [v.clip.path for clip in views for v in clip if v.items(1)[0] not in store]
    assert missing == [changed]
    assert plan([v for clip in views for v in clip], encoder, store).views == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frames": 5},
        {"taps": (2,)},
        {"sampling": Sampling(views=2)},
        {"preprocess": Preprocess(size=(32, 32), mean=(0, 0, 0))},
        {"preprocess": Preprocess(size=(32, 32), bgr=True)},
        {"backbone": "x"},
        {"precision": "bf16"},
    ],
)
def test_everything_that_matters_is_in_the_key(weights: Weights, changes: dict[str, object]) -> None:
    assert spec_of(weights).key != spec_of(weights, **changes).key
    assert spec_of(weights).key == spec_of(weights).key


def test_caches_from_before_the_order_of_channels_are_found() -> None:
    spec = FeatureSpec(backbone="b", num_frames=8, preprocess=Preprocess(), sampling=Sampling(), taps=(3,))
    assert spec.key == "0f81c32adf13ecd8"


def test_the_activation_is_in_the_key(weights: Weights) -> None:
    other = replace(weights, config=replace(clip_config(weights), activation="gelu"), _fingerprints={})
    assert spec_of(weights).key != spec_of(other).key


def test_a_wider_cache_serves_a_narrower_method(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    _, store, _views, flat = fill(tmp_path, weights, manifest)
    items = [i for v in flat for i in v.items(1)]
    pooled = open_store(tmp_path, spec_of(weights, taps=()), items)
    assert pooled.folder == store.folder
    assert pooled.read(items[0], ()).taps == ()
    assert torch.equal(pooled.read(items[0], (2,)).taps[0].out_BTLD, store.read(items[0]).taps[1].out_BTLD)
    (tmp_path / spec_of(weights, taps=()).key).mkdir()  # left by an encoding that was stopped
    assert open_store(tmp_path, spec_of(weights, taps=()), items).folder == store.folder
    other = open_store(tmp_path, spec_of(weights, taps=(), num_frames=5), items)
    assert other.folder != store.folder
    assert open_store(tmp_path, spec_of(weights, taps=()), [*items, "unknown/test0"]).folder != store.folder


KILLED = """
import os, signal, sys
from pathlib import Path
import stillmotion.features.store as store
from stillmotion.features.encode import Encoder
from tests.features.test_features import fill
from stillmotion.data.manifest import read_manifest
from stillmotion.backbones.clip_files import clip_config
from stillmotion.backbones.load import load_backbone
store.SHARD_BYTES = 1
count = 0
encode = Encoder.encode
def kill(self, video):
    global count
    count += 1
    if count == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, video)
Encoder.encode = kill
fill(Path(sys.argv[1]), load_backbone(sys.argv[2]), read_manifest(Path(sys.argv[3])))
"""


def test_killed_encoding_keeps_what_was_written(
    tmp_path: Path, weights: Weights, tiny_clip: Path, folder_of_videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(tiny_clip), str(folder_of_videos)],
        check=False,
        env=os.environ,
    )
    assert done.returncode == -signal.SIGKILL
    store = FeatureStore(tmp_path, spec_of(weights))
    with (store.folder / "index.jsonl").open("a") as file:
        file.write('\n{"shard": "shard-torn')  # a line that the kill cut short
    manifest = read_manifest(folder_of_videos)
    counted: list[int] = []
    whole = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, video: counted.append(1) or whole(self, video))
    _, store, _, flat = fill(tmp_path, weights, manifest)
    assert len(counted) == 12 - 5
    again = FeatureStore(tmp_path, store.spec)
    assert all(item in again for v in flat for item in v.items(1))


def test_random_views_are_drawn_by_epoch(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    encoder, store, views, _ = fill(tmp_path, weights, manifest, random_views=3)
    train = FeatureDataset(store, manifest.clips, views, 1, (1, 2), train=True, seed=1)
    drawn = [train[epoch, 0].views[0]["frames"] for epoch in range(12)]
    assert len({tuple(f.flatten()[:8].tolist()) for f in drawn}) == 3
    assert torch.equal(drawn[2], train[2, 0].views[0]["frames"])
    encoder, store, views, _ = fill(tmp_path, weights, manifest)
    test = FeatureDataset(store, manifest.clips, views, 1, (1, 2), train=False)
    assert torch.equal(test[0, 0].views[0]["frames"], test[5, 0].views[0]["frames"])
    pixels = read_views(manifest.clips[0].path, 4, Sampling(), PREPROCESS)
    live = encoder.encode(pixels)
    assert (test[0, 0].views[0]["frames"].float() - live["frames"][0]).abs().max() < 1e-2


def test_damaged_and_missing_shards(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    _, store, _, flat = fill(tmp_path, weights, manifest)
    item = flat[0].items(1)[0]
    shard = store.folder / store._places[item]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(StillmotionError, match=r"is damaged .*; delete it and run again"):
        FeatureStore(tmp_path, store.spec).read(item)
    shard.unlink()
    again = FeatureStore(tmp_path, store.spec)
    assert item not in again
    with pytest.raises(StillmotionError, match="encode the videos again"):
        again.read(item)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(
    tmp_path: Path, weights: Weights, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stillmotion.features.store as module

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(DiskError, match="no space left to write"):
        fill(tmp_path, weights, manifest)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"spec.json"}


def test_the_spec_says_what_the_folder_holds(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    _, store, _, _ = fill(tmp_path, weights, manifest)
    spec = json.loads((store.folder / "spec.json").read_text())
    assert spec["backbone"] == weights.fingerprint()
    assert spec["taps"] == [1, 2]
