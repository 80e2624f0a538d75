"""The cache holds what the decoder needs, once, safely; the plan comes first."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch

from stillmotion.backbones.clip import describe
from stillmotion.backbones.clip_files import clip_config, clip_weights
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.weights import Weights, load_into
from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import VideoDataset, read_views
from stillmotion.data.manifest import Manifest, read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Augment, Preprocess
from stillmotion.errors import DiskError, StillmotionError
from stillmotion.features.dataset import FeatureDataset
from stillmotion.features.encode import Encoder, encode, plan, views_of
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import Digests
from stillmotion.methods import EVL
from stillmotion.models.features import FRAMES, Reads

PREPROCESS = Preprocess(size=(32, 32))
READS = Reads(frames=True, out=(1, 2), affinity=(1, 2))
OUTPUTS = READS.names(3)
ONE = Sampling()


@pytest.fixture(scope="module")
def weights(tiny_clip: Path) -> Weights:
    return load_backbone(str(tiny_clip))


@pytest.fixture
def manifest(folder_of_videos: Path) -> Manifest:
    return read_manifest(folder_of_videos)


def spec_of(weights: Weights, **changes: object) -> FeatureSpec:
    spec = FeatureSpec(backbone=weights.fingerprint(), num_frames=4, preprocess=PREPROCESS, sampling=ONE)
    return replace(spec, **changes)


def fill(
    root: Path,
    weights: Weights,
    manifest: Manifest,
    random_views: int = 0,
    sampling: Sampling = ONE,
    reads: Reads = READS,
):
    spec = spec_of(weights, sampling=sampling)
    encoder, store = Encoder(weights, spec, reads, torch.device("cpu")), FeatureStore(root, spec)
    bad = BadVideos(None, len(manifest), 0.0)
    views = views_of(manifest.clips, sampling, bad, Digests(root), random_views, "crop-")
    flat = [v for clip in views for v in clip]
    encode(flat, encoder, store, bad, Augment("crop", PREPROCESS))
    return encoder, store, views, flat


def test_cached_features_give_the_logits_of_the_live_model(
    tmp_path: Path, weights: Weights, manifest: Manifest
) -> None:
    """Up to the rounding of float16."""
    torch.manual_seed(0)
    method = EVL(num_frames=4, layers=2)
    model = method.build(weights.backbone, manifest.classes).eval()
    load_into(model, weights.state, new=method.new_parameters(), source="tiny")
    with torch.no_grad():
        for parameter in model.temporal.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    _, store, views, _ = fill(tmp_path, weights, manifest, sampling=Sampling(views=2, crops=3))
    features = FeatureDataset(store, manifest.clips, views, OUTPUTS[1:], train=False)
    videos = VideoDataset(manifest, 4, Sampling(views=2, crops=3), PREPROCESS)
    a = FeatureDataset.collate([features[0, i] for i in range(3)])
    b = VideoDataset.collate([videos[0, i] for i in range(3)])
    assert (a.num_views, b.num_views) == (6, 6)
    assert a.indices.tolist() == b.indices.tolist() == [0, 1, 2]
    with torch.no_grad():
        live = model.classify(b.views)
        cached = model.classify(a.views)
    assert live.shape == cached.shape == (18, 2)
    assert (live - cached).abs().max() < 5e-3
    assert not torch.equal(live, cached), "the cache is float16"


def test_size_is_what_the_plan_says(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    encoder, store, _, flat = fill(tmp_path, weights, manifest)
    expected = len(flat) * encoder.bytes_per_view
    found = sum(p.stat().st_size for p in store.folder.glob("shard-*.safetensors"))
    assert expected <= found <= expected * 1.15, "headers of tiny tensors aside"


def test_methods_pay_for_what_they_read() -> None:
    """The sizes of docs/methods: affinities are for EVL's cross-attention alone."""
    from stillmotion.backbones.config import CLIPConfig
    from stillmotion.methods import AttentiveProbe, LinearProbe, Step

    b16 = describe(CLIPConfig(text=None))

    def megabytes(reads: Reads) -> float:
        return 2 * sum(prod(b16.shape(name, 8)) for name in reads.names(b16.layers)) / 1e6

    assert megabytes(EVL().reads()) == pytest.approx(13.99, abs=0.01)
    assert megabytes(EVL(cross_attention=False).reads()) == pytest.approx(9.68, abs=0.01)
    assert megabytes(Step().reads()) == megabytes(AttentiveProbe().reads()) == pytest.approx(2.42, abs=0.01)
    assert megabytes(LinearProbe().reads()) == pytest.approx(0.0082, abs=0.0001)


def test_the_plan_comes_first_and_refuses_a_small_disk(
    tmp_path: Path, weights: Weights, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(weights)
    encoder, store = Encoder(weights, spec, READS, torch.device("cpu")), FeatureStore(tmp_path / "cache", spec)
    flat = [v for clip in views_of(manifest.clips, ONE, BadVideos(None, 12, 0), Digests(None)) for v in clip]
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
    views = views_of(read_manifest(tmp_path / "b").clips, ONE, BadVideos(None, 12, 0), Digests(None))
    missing = [v.clip.path for clip in views for v in clip if store.lacking(v.items()[0], OUTPUTS)]
    assert missing == [changed]
    assert plan([v for clip in views for v in clip], encoder, store).views == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frames": 5},
        {"sampling": Sampling(scheme="dense")},
        {"sampling": Sampling(stride=4)},
        {"preprocess": Preprocess(size=(32, 32), mean=(0, 0, 0))},
        {"preprocess": Preprocess(size=(32, 32), bgr=True)},
        {"backbone": "x"},
        {"runtime": "bf16"},
    ],
)
def test_everything_that_matters_is_in_the_key(weights: Weights, changes: dict[str, object]) -> None:
    assert spec_of(weights).key != spec_of(weights, **changes).key
    assert spec_of(weights).key == spec_of(weights, sampling=Sampling(views=3, crops=3)).key, "views are items"


def test_the_activation_is_in_the_key(weights: Weights) -> None:
    other = clip_weights("gelu", replace(clip_config(weights), activation="gelu"), weights.state)
    assert spec_of(weights).key != spec_of(other).key


def test_methods_share_clip_by_clip_and_output_by_output(
    tmp_path: Path, weights: Weights, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is not computed again, what is lacking is, and no more of it is written than was asked for."""
    some = manifest.subset(range(8))
    fill(tmp_path, weights, some, reads=Reads(out=(2,)))
    counted: list[int] = []
    whole = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, video: counted.append(1) or whole(self, video))
    _, store, _, flat = fill(tmp_path, weights, manifest, reads=Reads(out=(2,)))
    assert len(counted) == 4, "the clips that the first method had not seen"
    counted.clear()
    _, store, _, flat = fill(tmp_path, weights, manifest, reads=READS)
    assert len(counted) == 12
    indices = [json.loads(p.read_text()) for p in store.folder.glob("shard-*.json")]
    written = [name for index in indices for _ in index["items"] for name in index["outputs"]]
    assert sorted(written) == sorted(12 * list(OUTPUTS)), "every output of every clip once"
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [store.folder]
    again = FeatureStore(tmp_path, store.spec)
    for view in flat:
        assert again.read(view.items()[0], OUTPUTS).keys() == set(OUTPUTS)


def test_training_clips_have_one_view_and_more_test_views_add_to_them(
    tmp_path: Path, weights: Weights, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, weights, manifest, reads=FRAMES)
    counted: list[int] = []
    whole = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, video: counted.append(1) or whole(self, video))
    _, store, _, _ = fill(tmp_path, weights, manifest.subset([0]), sampling=Sampling(views=3), reads=FRAMES)
    assert len(counted) == 3
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [store.folder]


def test_overflow_of_float16_is_refused_at_its_source(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    """One channel beyond 65504 would be infinite in the cache, and the loss of every training NaN."""
    state = weights.state | {"visual.proj": weights.state["visual.proj"] * 1e6}
    loud = clip_weights("loud", clip_config(weights), state)
    with pytest.raises(StillmotionError, match=r"source0_0\.mp4: output 'frames' .* values up to .*float16"):
        fill(tmp_path, loud, manifest, reads=FRAMES)
    assert not list(tmp_path.rglob("shard-*"))


def test_flipped_bits_are_noticed(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    """Every tensor has a checksum: each of 40 single flips in the data of a shard is refused when it is read."""
    _, store, _, flat = fill(tmp_path, weights, manifest, reads=Reads(out=(2,)))
    (shard,) = store.folder.glob("shard-*.safetensors")
    whole = shard.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in range(start, len(whole), (len(whole) - start) // 40):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        shard.write_bytes(damaged)
        with pytest.raises(StillmotionError, match=r"is damaged .*another checksum.*; delete it and run again"):
            again = FeatureStore(tmp_path, store.spec)
            for view in flat:
                again.read(view.items()[0], ("out.2", "frames"))
    shard.write_bytes(whole)
    assert all(FeatureStore(tmp_path, store.spec).read(v.items()[0], ("out.2",)) for v in flat)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"outputs": 1, "items": []}',
        '{"outputs": ["out.2"], "items": {"a": [1, 2]}}',
        "[" * 10**5,
    ],
)
def test_a_damaged_index_loses_its_shard_alone(
    tmp_path: Path, weights: Weights, manifest: Manifest, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, store, _, flat = fill(tmp_path, weights, manifest, reads=FRAMES)
    (index,) = store.folder.glob("shard-*.json")
    index.write_text(content)
    assert FeatureStore(tmp_path, store.spec).lacking(flat[0].items()[0], ("frames",))
    assert "is damaged" in capsys.readouterr().err
    _, store, _, _ = fill(tmp_path, weights, manifest, reads=FRAMES)
    assert not store.lacking(flat[0].items()[0], ("frames",))


def test_nothing_outside_its_folder_is_read(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    """A shard is named by its own index's file name, and no other name counts."""
    _, store, _, flat = fill(tmp_path / "cache", weights, manifest, reads=FRAMES)
    (index,) = store.folder.glob("shard-*.json")
    for name in ("shard-../../x.json", "shard-0123456789ab.x.json", "shard-ABCDEFABCDEF.json", "shard-.json"):
        (store.folder / name.replace("/", "_")).write_text(index.read_text())
    index.unlink()
    assert FeatureStore(tmp_path / "cache", store.spec).lacking(flat[0].items()[0], ("frames",))


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
    next(store.folder.glob("shard-*.json")).with_name("shard-0123456789ab.json").write_text('{"outputs": ["fr')  # torn
    manifest = read_manifest(folder_of_videos)
    counted: list[int] = []
    whole = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, video: counted.append(1) or whole(self, video))
    _, store, _, flat = fill(tmp_path, weights, manifest)
    assert len(counted) == 12 - 5
    again = FeatureStore(tmp_path, store.spec)
    assert not any(again.lacking(item, OUTPUTS) for v in flat for item in v.items())


def test_what_killed_processes_left_is_removed_once_it_is_old(
    tmp_path: Path, weights: Weights, manifest: Manifest
) -> None:
    _, store, _, _ = fill(tmp_path, weights, manifest, reads=FRAMES)
    names = (".spec.json.45pdpr85.tmp", ".shard-0123456789ab.json.x.tmp", "shard-0123456789ab.safetensors", "mine.tmp")
    for name in names:
        (store.folder / name).touch()
    fill(tmp_path, weights, manifest, reads=FRAMES)
    assert all((store.folder / name).exists() for name in names), "a process may be writing them"
    for path in store.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    before = {p.name for p in store.folder.iterdir()}
    fill(tmp_path, weights, manifest, reads=FRAMES)
    assert before - {p.name for p in store.folder.iterdir()} == set(names[:3])


def test_random_views_are_drawn_by_epoch(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    encoder, store, views, _ = fill(tmp_path, weights, manifest, random_views=3)
    train = FeatureDataset(store, manifest.clips, views, ("frames",), train=True, seed=1)
    drawn = [train[epoch, 0].views[0]["frames"] for epoch in range(12)]
    for start in range(0, 12, 3):  # every view once in as many epochs
        assert len({tuple(f.flatten()[:8].tolist()) for f in drawn[start : start + 3]}) == 3
    assert torch.equal(drawn[2], train[2, 0].views[0]["frames"])
    encoder, store, views, _ = fill(tmp_path, weights, manifest)
    test = FeatureDataset(store, manifest.clips, views, ("frames",), train=False)
    assert torch.equal(test[0, 0].views[0]["frames"], test[5, 0].views[0]["frames"])
    live = encoder.encode(read_views(manifest.clips[0].path, 4, ONE, PREPROCESS))
    assert (test[0, 0].views[0]["frames"].float() - live["frames"][0]).abs().max() < 1e-2


def test_damaged_and_missing_shards(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    _, store, _, flat = fill(tmp_path, weights, manifest)
    item = flat[0].items()[0]
    (shard,) = store.folder.glob("shard-*.safetensors")
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(StillmotionError, match=r"is damaged .*; delete it and run again"):
        FeatureStore(tmp_path, store.spec).read(item, OUTPUTS)
    shard.unlink()
    again = FeatureStore(tmp_path, store.spec)
    assert again.lacking(item, OUTPUTS) == OUTPUTS
    with pytest.raises(StillmotionError, match="encode the videos again"):
        again.read(item, OUTPUTS)


def test_a_shard_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, weights: Weights, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stillmotion.features.store as module

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    _, store, _, flat = fill(tmp_path, weights, manifest)
    monkeypatch.setattr(module, "safe_open", refuse)
    with pytest.raises(StillmotionError, match=r"cannot read feature shard .*Permission denied"):
        FeatureStore(tmp_path, store.spec).read(flat[0].items()[0], OUTPUTS)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(
    tmp_path: Path, weights: Weights, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stillmotion.features.store as module

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(DiskError, match="no space left to write"):
        fill(tmp_path, weights, manifest)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"spec.json", "digests.jsonl"}


def test_the_spec_says_what_the_folder_holds(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    _, store, _, _ = fill(tmp_path, weights, manifest)
    spec = json.loads((store.folder / "spec.json").read_text())
    assert spec["backbone"] == weights.fingerprint()
    assert (spec["num_frames"], spec["runtime"], spec["sampling"]["scheme"]) == (4, "fp32", "segments")


def test_views_of_one_pass_are_those_of_several(tmp_path: Path, weights: Weights, manifest: Manifest) -> None:
    """As on a GPU; what is stored once is not computed again, and the last pass is a short one."""
    _, one_by_one, _, flat = fill(tmp_path / "a", weights, manifest)
    encoder, store = (
        Encoder(weights, spec_of(weights), READS, torch.device("cpu")),
        FeatureStore(tmp_path / "b", spec_of(weights)),
    )
    encoder.batch, sizes, run = len(flat) - 1, [], encoder.encode
    encoder.encode = lambda video: (sizes.append(len(video)), run(video))[1]  # type: ignore[method-assign]
    for _ in range(2):
        encode(flat, encoder, store, BadVideos(None, len(manifest), 0.0))
    assert sizes == [len(flat) - 1, 1]
    for view in flat:
        (item,) = view.items()
        expected, found = one_by_one.read(item, OUTPUTS), store.read(item, OUTPUTS)
        for name in OUTPUTS:
            assert torch.allclose(expected[name].float(), found[name].float(), atol=2e-3)
