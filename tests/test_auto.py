"""`train auto`: folds keep groups whole, losers are dropped for a reason, the winner is scored once, order tested."""

import json
import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import stillmotion
from stillmotion.auto import Auto, auto
from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.load import load_backbone
from stillmotion.candidates import Candidate, average_of, choose, drop_worse
from stillmotion.cli import main
from stillmotion.data.folds import folds
from stillmotion.data.manifest import read_manifest
from stillmotion.data.source import Data
from stillmotion.errors import DataError, StillmotionError
from stillmotion.eval.order import FULL, OrderTest
from stillmotion.eval.report import Scores
from stillmotion.features.encode import Encoder
from stillmotion.methods import EVL, Average
from stillmotion.models.affinity import neighbor_affinity
from stillmotion.models.features import Reads
from stillmotion.models.order import ORDERS, frame_order, needed, reorder
from stillmotion.recipes.auto import COMBINATIONS
from stillmotion.recipes.base import Place
from stillmotion.training import loop
from tests.conftest import write_tiny_clip


@pytest.fixture(scope="module")
def deep_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the four blocks that EVL reads."""
    return write_tiny_clip(tmp_path_factory.mktemp("deep") / "deep.safetensors", layers=4)


@pytest.mark.parametrize("T", [1, 2, 3, 4, 8, 32])
def test_orders(T: int) -> None:
    assert frame_order("reversed", T) == list(range(T))[::-1]
    assert frame_order("frozen", T) == [T // 2] * T
    shuffled = frame_order("shuffled", T)
    assert sorted(shuffled) == list(range(T)) and shuffled == frame_order("shuffled", T)
    if T > 3:
        assert all(abs(a - b) > 1 for a, b in pairwise(shuffled))
    with pytest.raises(ValueError, match="no order 'x'"):
        frame_order("x", T)


@pytest.mark.parametrize("order", ORDERS)
def test_reordered_features_are_those_of_reordered_frames(order: str, tiny_clip: Path) -> None:
    """For CLIP's tower: what the cache makes of an order is what the tower gives for the frames in that order."""
    weights = load_backbone(str(tiny_clip))
    reads = Reads(frames=True, out=(-2, -1), affinity=(-2, -1), orders=("shuffled", "frozen"))
    tower = weights.backbone.visual(reads).eval()
    tower.load_state_dict({k: weights.state[f"visual.{k}"] for k in tower.state_dict()})
    video = torch.randn(1, 5, 3, 32, 32)
    with torch.no_grad():
        given, expected = tower(video), tower(video[:, frame_order(order, 5)])
    names = Reads(frames=True, out=(-2, -1), affinity=(-2, -1)).names(3)
    found = reorder({name: given[name][0] for name in needed(names, order)}, order)
    assert set(found) == set(names)
    for name in names:
        assert (found[name] - expected[name][0]).abs().max() <= 1e-5, name
        if name.startswith("affinity.") and order != "reversed":
            assert (found[name] - given[name][0]).abs().max() > 1e-4, "the case would not tell"


def test_affinities_of_other_orders_are_given_by_name() -> None:
    q, k = torch.randn(2, 1, 4, 2, 9, 8).unbind(0)
    from stillmotion.models.affinity import affinities

    found = affinities("affinity.0", q, k, {"affinity.0.frozen"})
    assert set(found) == {"affinity.0", "affinity.0.frozen"}
    middle = [2, 2, 2, 2]
    assert torch.equal(found["affinity.0.frozen"], neighbor_affinity(q[:, middle], k[:, middle]))


def test_folds_hold_every_clip_out_once_and_keep_groups_whole(folder_of_videos: Path) -> None:
    manifest = read_manifest(folder_of_videos)
    parts = folds(manifest, 3, seed=1, group=r"source(\d)")
    held = Counter(clip.path for _, val in parts for clip in val.clips)
    assert held == Counter(clip.path for clip in manifest.clips)
    for train, val in parts:
        assert not {c.path for c in train.clips} & {c.path for c in val.clips}
        assert len({c.path.name[:7] for c in val.clips}) == 1, "one source a fold"
        assert (train.counts(), val.counts()) == ([4, 4], [2, 2])
    assert [a.clips for a, _ in parts] == [a.clips for a, _ in folds(manifest, 3, seed=1, group=r"source(\d)")]
    assert len(folds(manifest, 9)) == 6, "no more folds than clips of a class"
    one = manifest.subset([0, *range(6, 12)])
    with pytest.raises(DataError, match="class 'left' has one clip for training; at least two are needed"):
        folds(one, 3)


def candidate(name: str, parameters: int, *folds: str) -> Candidate:
    """One with clips of class 0 that are right (1) or wrong (0)."""
    scores = []
    for marks in folds:
        p = torch.tensor([[float(x), 1 - float(x)] for x in marks])
        scores.append(
            Scores(indices=torch.arange(len(p)), labels=torch.zeros(len(p), dtype=torch.int64), probabilities=p)
        )
    return Candidate(name, (), scores, parameters, 1.0)


def test_who_loses_beyond_doubt_is_dropped() -> None:
    best, near, far = (
        candidate("best", 3, "1" * 18 + "00"),
        candidate("near", 2, "1" * 13 + "0" * 7),
        candidate("far", 1, "1" * 10 + "0" * 10),
    )
    drop_worse([best, near, far])
    assert [c.dropped for c in (best, near, far)] == [False, False, True], "5 of 5 may be luck, 8 of 8 hardly"


def test_the_cheapest_within_a_standard_error_wins() -> None:
    best = candidate("best", 9, "1111111110", "1111111100", "1111111000")
    near = candidate("near", 5, "1111111110", "1111111000", "1111111000")
    far = candidate("far", 1, "1110000000", "1110000000", "1110000000")
    assert best.mean == pytest.approx(0.8) and best.spread == pytest.approx(0.1)
    chosen, why = choose([far, near, best])
    assert chosen is near
    assert why == (
        "near is the smallest model within one standard error of the best mean: best is 3.3 points better, give or "
        "take 5.8."
    )
    low = candidate("low", 5, "1111000000", "1111000000", "1111000000")
    assert choose([far, low, best]) == (best, "best has the best mean.")
    assert candidate("one", 1, "10").spread is None


def test_an_average_of_two_is_a_candidate() -> None:
    """Of probabilities, so that the surer one decides."""
    one, other = candidate("a", 3, "10"), candidate("b", 4, "01")
    one.scores[0].probabilities[:] = torch.tensor([[0.9, 0.1], [0.45, 0.55]])
    other.scores[0].probabilities[:] = torch.tensor([[0.2, 0.8], [0.7, 0.3]])
    both = average_of([one, other])
    assert (both.name, both.parameters, both.seconds, both.folds) == ("a + b", 7, 2.0, [1.0])
    assert torch.allclose(both.scores[0].probabilities, torch.tensor([[0.55, 0.45], [0.575, 0.425]]))


def test_what_order_adds_is_said() -> None:
    per_class = {
        "sit": {FULL: 0.9, "shuffled": 0.4, "reversed": 0.1, "frozen": 0.5},
        "run": {FULL: 0.9, "shuffled": 0.9, "reversed": 0.9, "frozen": 0.8},
    }
    found = OrderTest({FULL: 0.93, "shuffled": 0.91, "reversed": 0.9, "frozen": 0.7}, per_class)
    assert str(found) == "The clip backwards gives 90 %, order adds 3 points; sit needs it."
    assert found.to_dict()["per_class"]["sit"]["reversed"] == 0.1


OPTIONS = Auto(num_frames=4, epochs=2, folds=2, device="cpu", workers=0, save_minutes=1e9)
NAMES = ("linear_probe", "change_probe", "step", "attentive_probe", "evl without modules", "evl identity", "evl motion")


def test_auto(
    folder_of_videos: Path, deep_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    encoded: list[int] = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, video: (encoded.append(1), encode(self, video))[1])
    options = replace(OPTIONS, backbone=str(deep_clip), all_folds=True)
    data, place = Data(data=folder_of_videos), Place(out=tmp_path / "a", cache=tmp_path / "cache")
    choice = auto(options, data, place)
    assert len(encoded) == 12 + 2 * 2, "the backbone runs once over every clip, and twice to measure each half"
    written = json.loads((tmp_path / "a" / "auto.json").read_text())
    averages = [" + ".join(names) for names in COMBINATIONS]
    assert [c["name"] for c in written["candidates"]] == [*NAMES, *averages]
    assert all(len(c["folds"]) == 2 and c["seconds"] > 0 and not c["dropped"] for c in written["candidates"])
    assert written["winner"] == choice.winner.name
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert written["held_out"]["top1"] == results["top1"] == written["order"]["full"]
    assert set(written["order"]) == {"full", "shuffled", "reversed", "frozen", "per_class"}
    assert set(written["order"]["per_class"]) == {"left", "right"}
    assert (tmp_path / "a" / "model.safetensors").is_file()
    assert not list((tmp_path / "a" / "folds").rglob("model.safetensors")), "folds keep numbers, no weights"
    before = (tmp_path / "a" / "auto.json").read_text()
    encoded.clear()
    capsys.readouterr()
    auto(options, data, place)
    assert (tmp_path / "a" / "auto.json").read_text() == before and not encoded, "all of it was kept"


def test_auto_goes_on_where_it_was_stopped(
    folder_of_videos: Path, deep_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, backbone=str(deep_clip), candidates=("linear_probe", "evl motion"), all_folds=True)
    data, cache = Data(data=folder_of_videos), tmp_path / "cache"
    whole = auto(options, data, Place(out=tmp_path / "whole", cache=cache))
    step = loop.Trainer._step
    steps: list[int] = []

    def interrupt(self: Any, number: int, *rest: Any) -> Any:
        steps.append(number)
        if len(steps) in (3, 9):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, number, *rest)

    monkeypatch.setattr(loop.Trainer, "_step", interrupt)
    for _ in range(2):
        with pytest.raises(loop.Stopped):
            auto(options, data, Place(out=tmp_path / "a", cache=cache))
    found = auto(options, data, Place(out=tmp_path / "a", cache=cache))
    assert found.winner.name == whole.winner.name
    assert [c.folds for c in found.candidates] == [c.folds for c in whole.candidates]
    assert torch.equal(found.result.scores.probabilities, whole.result.scores.probabilities)


def test_the_folder_is_claimed_before_anything_is_trained(
    folder_of_videos: Path, deep_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, backbone=str(deep_clip), candidates=("linear_probe",), epochs=1)
    data, place = Data(data=folder_of_videos), Place(out=tmp_path / "a", cache=tmp_path / "cache")
    choice = auto(options, data, place)
    assert len(choice.candidates[0].folds) == 2, "one candidate is no race"
    monkeypatch.setattr(loop.Trainer, "_step", lambda *_: pytest.fail("trained"))
    with pytest.raises(StillmotionError, match=r"holds a run with other settings \(auto.epochs was 1, is 2\)"):
        auto(replace(options, epochs=2), data, place)
    auto(replace(options, save_minutes=5.0), data, place)
    monkeypatch.undo()
    assert auto(replace(options, epochs=2), data, replace(place, overwrite=True)).winner.name == "linear_probe"


def test_candidates_that_read_what_the_backbone_lacks_are_left_out(
    folder_of_videos: Path, deep_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As with towers whose queries and keys cannot be had."""
    check = Backbone.check

    def without(self: Backbone, reads: Reads) -> None:
        if reads.affinity:
            raise StillmotionError("no affinity here; pass --no-cross-attention")
        check(self, reads)

    monkeypatch.setattr(Backbone, "check", without)
    options = replace(OPTIONS, backbone=str(deep_clip), candidates=("linear_probe", "evl identity"))
    place = Place(out=tmp_path / "a", cache=tmp_path / "cache")
    choice = auto(options, Data(data=folder_of_videos), place)
    assert [c.name for c in choice.candidates] == ["linear_probe"]
    assert "evl identity is left out: no affinity here" in capsys.readouterr().err
    with pytest.raises(StillmotionError, match="no affinity here"):
        auto(replace(options, candidates=("evl identity",)), Data(data=folder_of_videos), place)


def test_a_backbone_that_mixes_frames_is_tested_on_videos(
    folder_of_videos: Path, deep_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways to other orders agree, for a tower that sees every frame alone."""
    options = replace(OPTIONS, backbone=str(deep_clip), candidates=("evl motion",))
    data, cache = Data(data=folder_of_videos), tmp_path / "cache"
    features = auto(options, data, Place(out=tmp_path / "a", cache=cache))
    scored: list[str] = []
    search = sys.modules["stillmotion.search"]
    whole = search.score_orders
    monkeypatch.setattr(
        search, "score_orders", lambda m, d, *a, **k: (scored.append(type(d).__name__), whole(m, d, *a, **k))[1]
    )
    monkeypatch.setattr(Backbone, "frames_alone", False)
    videos = auto(options, data, Place(out=tmp_path / "a", cache=cache))
    assert scored == ["VideoDataset"], "one reading for all orders"
    assert videos.order == features.order


def test_an_average_that_wins_is_one_file(
    folder_of_videos: Path, deep_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["stillmotion.auto"]
    monkeypatch.setattr(module, "choose", lambda found: (found[-1], "It is last."))
    options = replace(OPTIONS, backbone=str(deep_clip), candidates=("attentive_probe", "change_probe"))
    data, place = Data(data=folder_of_videos), Place(out=tmp_path / "a", cache=tmp_path / "cache")
    choice = auto(options, data, place)
    assert choice.winner.name == "attentive_probe + change_probe"
    classifier = stillmotion.load(tmp_path / "a" / "model.safetensors", device="cpu")
    parts = [stillmotion.load(tmp_path / "a" / "parts" / n / "model.safetensors", device="cpu") for n in "12"]
    video = next(folder_of_videos.rglob("*.mp4"))
    views = classifier.read(video)
    apart = torch.stack([part.score(views) for part in parts]).mean(dim=0)
    assert (classifier.score(views) - apart).abs().max() <= 1e-6
    main(["eval", str(tmp_path / "a" / "model.safetensors"), "--data", str(folder_of_videos), "--no-cached",
          "--device", "cpu", "--out", str(tmp_path / "e")])  # fmt: skip
    held = {json.loads(line)["path"]: json.loads(line)["probabilities"]
            for line in (tmp_path / "e" / "eval_predictions.jsonl").read_text().splitlines()}  # fmt: skip
    for line in (tmp_path / "a" / "predictions.jsonl").read_text().splitlines():
        found = json.loads(line)
        assert found["probabilities"] == pytest.approx(held[found["path"]], abs=2e-3)  # features are kept in float16
    assert auto(options, data, place).result.report.top1 == choice.result.report.top1
    with pytest.raises(StillmotionError, match="an average is of two probes or more"):
        Average(parts=(EVL(),))


def test_auto_on_the_command_line(
    folder_of_videos: Path, deep_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "auto", "--data", str(folder_of_videos), "--backbone", str(deep_clip), "--num-frames", "4",
             "--epochs", "1", "--folds", "2", "--candidates", "linear_probe", "step", "--device", "cpu",
             "--out", str(tmp_path / "a"), "--cache", str(tmp_path / "cache")]  # fmt: skip
    main(words)
    out, err = capsys.readouterr()
    assert "candidate" in out and "mean top-1" in out and "on held-out clips: top-1" in out and "order: " in out
    assert "fold 2 of 2: 5 clips to train, 5 to compare" in err
    main(["predict", str(tmp_path / "a" / "model.safetensors"), str(next(folder_of_videos.rglob("*.mp4")))])
    for change, said in (
        (["--candidates", "lnear"], "there is no candidate 'lnear'; did you mean 'linear_probe'?"),
        (["--folds", "1"], "folds is 1; it must be at least 2"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*words, *change])
        assert stop.value.code == 2 and said in capsys.readouterr().err


def test_candidates_that_read_deeper_than_the_tower_are_left_out(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = replace(OPTIONS, backbone=str(tiny_clip), candidates=("linear_probe", "evl identity"))
    place = Place(out=tmp_path / "a", cache=tmp_path / "cache")
    choice = auto(options, Data(data=folder_of_videos), place)
    assert [c.name for c in choice.candidates] == ["linear_probe"]
    assert "evl identity is left out: block -4 is outside a tower of 3 blocks" in capsys.readouterr().err


def test_fewer_epochs_warm_up_for_the_same_part_of_them() -> None:
    for epochs in (1, 3, 60):
        for name, recipe in Auto(epochs=epochs).recipes().items():
            own = Auto().recipes()[name].train
            assert recipe.train.epochs == epochs and recipe.train.warmup / epochs == pytest.approx(
                own.warmup / own.epochs
            )
    assert Auto().recipes()["attentive_probe"].train.warmup == 3
