"""`--order-test`: every video once in every order of its frames, from the cache or from pixels, and written down."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

import stillmotion
import stillmotion.data.many  # bound to what is patched below, were it imported later
from stillmotion.checkpoint import load_model
from stillmotion.cli import main
from stillmotion.data import dataset as data_set
from stillmotion.data.dataset import VideoDataset
from stillmotion.data.manifest import Clip, Manifest, read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import DataError, StillmotionError
from stillmotion.eval.evaluate import score, score_orders
from stillmotion.eval.order import FULL, OrderTest
from stillmotion.eval.report import Report, Scores, read_predictions
from stillmotion.experiment import fit
from stillmotion.features.encode import Encoder
from stillmotion.methods import EVL, ChangeProbe, LinearProbe
from stillmotion.models.order import ORDERS, frame_order, orders
from stillmotion.recipes import RECIPES
from stillmotion.recipes.base import Place, Recipe
from stillmotion.source import cached_videos
from stillmotion.training.config import Train

EVERY = (FULL, *ORDERS)


class Timed(torch.nn.Module):
    """A model that tells the order of frames: it weighs them by their place."""

    def forward(self, video: torch.Tensor, text: object = None) -> torch.Tensor:
        T = video.shape[1]
        frames_BT = video.flatten(2).mean(2)
        ramp = torch.linspace(-4, 4, T)
        return torch.stack([(frames_BT * ramp).sum(1), -(frames_BT * ramp).sum(1)], dim=1)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the videos that are decoded, for a data set of pixels or for the cache."""
    found: list[str] = []
    whole = data_set.read_views
    monkeypatch.setattr(data_set, "read_views", lambda path, *a: found.append(path.name) or whole(path, *a))
    return found


def test_a_clip_is_decoded_once_and_all_its_views_are_put_into_each_order(
    folder_of_videos: Path, tmp_path: Path, decoded: list[str]
) -> None:
    manifest = read_manifest(folder_of_videos)
    (tmp_path / "bad.mp4").write_text("no video")
    manifest = Manifest((*manifest.clips, Clip(tmp_path / "bad.mp4", 0)), manifest.classes)
    dataset = VideoDataset(manifest, 4, Sampling(views=3), Preprocess(size=(16, 16)))
    found = score_orders(Timed(), dataset.in_orders(orders(4)), EVERY, Accelerator(cpu=True), batch_views=4)
    assert sorted(decoded) == sorted(clip.path.name for clip in manifest.clips)
    plain = score(Timed(), dataset, Accelerator(cpu=True), batch_views=4)
    assert torch.equal(found[FULL].probabilities, plain.probabilities)
    for order, scores in found.items():
        assert scores.indices.tolist() == list(range(12)) and scores.total == 13
        assert [Path(b.path).name for b in scores.bad] == ["bad.mp4"], "named in every order"
        for i in (0, 7):
            views = dataset[0, i].views
            assert views.shape[0] == 3
            if order != FULL:
                views = views[:, frame_order(order, 4)]
                assert (scores.probabilities[i] - plain.probabilities[i]).abs().max() > 1e-6, "the case would not tell"
            assert (scores.probabilities[i] - Timed()(views).softmax(-1).mean(0)).abs().max() <= 1e-6


def test_an_order_that_the_clips_do_not_have_is_a_bug(folder_of_videos: Path) -> None:
    dataset = VideoDataset(read_manifest(folder_of_videos), 4, Sampling(), Preprocess(size=(16, 16)))
    with pytest.raises(AssertionError, match="shuffled"):
        score_orders(Timed(), dataset, ("shuffled",), Accelerator(cpu=True))


def scores(indices: list[int], called: list[int]) -> Scores:
    p = torch.nn.functional.one_hot(torch.tensor(called), 2).double()
    return Scores(indices=torch.tensor(indices), labels=torch.tensor([i % 2 for i in indices]), probabilities=p)


def test_orders_are_compared_on_the_videos_that_all_have() -> None:
    """A file may vanish between the last validation and the order test."""
    report = Report.of(scores([0, 1, 2, 3], [0, 1, 0, 0]), ("a", "b"), {"shuffled": scores([0, 1, 3], [1, 1, 1])})
    assert report.top1 == 0.75
    assert report.order == OrderTest(
        {"full": 2 / 3, "shuffled": 2 / 3}, {"a": {"full": 1, "shuffled": 0}, "b": {"full": 0.5, "shuffled": 1}}
    )
    with pytest.raises(DataError, match="no video could be read in every order"):
        Report.of(scores([0, 1], [0, 1]), ("a", "b"), {"shuffled": scores([2], [0])})


def test_a_damaged_order_test_is_refused_in_a_line() -> None:
    for content in ({}, {"full": 1.0, "per_class": {}}, {"per_class": 3}, {"full": "x", "per_class": {}}, []):
        with pytest.raises(StillmotionError, match=r"the order test is damaged .* evaluate with --order-test again"):
            OrderTest.from_dict(content)  # type: ignore[arg-type]


SMALL = ["--num-frames", "4", "--epochs", "1", "--device", "cpu", "--workers", "0"]


def run(*words: object) -> None:
    main([str(word) for word in words])


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_a_frozen_model_is_tested_from_the_one_pass(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], decoded: list[str],
) -> None:  # fmt: skip
    """EVL reads affinities of neighbors, which other orders have others of; cache and pixels agree."""
    encoded: list[int] = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, video: (encoded.append(1), encode(self, video))[1])
    out, cache = tmp_path / "run", tmp_path / "cache"
    words = ["--data", folder_of_videos, "--backbone", tiny_clip, "--layers", 2, "--init", "motion", "--lr", "1e-2"]
    run("train", "evl", *words, *SMALL, "--out", out, "--cache", cache, "--order-test")
    assert len(encoded) == 12 + 2 * 2, "every clip once, and twice to measure each half"
    order, config = read(out / "results.json")["order"], read(out / "config.json")
    assert set(order) == {*EVERY, "per_class"} and set(order["per_class"]) == {"left", "right"}
    assert order["full"] == read(out / "results.json")["top1"] and config["place"]["order_test"] is True
    said = capsys.readouterr().out.splitlines()
    assert said[1] == f"order: {OrderTest.from_dict(order)}"
    page = (out / "report.html").read_text()
    assert "Does the task need order?" in page and "played backwards" in page
    decoded.clear()
    held = [json.loads(line)["path"] for line in (out / "predictions.jsonl").read_text().splitlines()]
    (tmp_path / "held.txt").write_text("".join(f"{path} {Path(path).parent.name}\n" for path in held))
    for name, more in (("cached", ["--cache", cache]), ("pixels", ["--no-cached"])):
        capsys.readouterr()
        run("eval", out / "model.safetensors", "--data", tmp_path / "held.txt", "--out", tmp_path / name,
            "--order-test", "--device", "cpu", "--no-report", *more)  # fmt: skip
        assert read(tmp_path / name / "eval.json")["order"] == order, name
        assert read(tmp_path / name / "eval.json")["config"]["order_test"] is True
        said = capsys.readouterr()
        assert said.out.splitlines()[1] == f"order: {OrderTest.from_dict(order)}"
        assert (f"{len(held)} of {len(held)} videos are in the feature cache" in said.err) == (name == "cached")
        assert len(decoded) == (0 if name == "cached" else len(held)), "once for four orders"
    run("report", tmp_path / "cached")
    assert "Does the task need order?" in (tmp_path / "cached" / "eval_report.html").read_text()


@pytest.mark.parametrize(
    "method",
    [EVL(num_frames=4, layers=2, init="motion"), ChangeProbe(num_frames=4, blocks=2), LinearProbe(num_frames=4)],
    ids=lambda method: type(method).__name__,
)
def test_other_orders_from_the_cache_are_those_of_pixels(
    method: Any, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    train = Train(lr=1e-2, epochs=2, batch_size=4, device="cpu", workers=0)
    recipe = Recipe(method=method, train=train, backbone=str(tiny_clip), sampling=Sampling(views=2))
    place = Place(out=tmp_path / "run", cache=tmp_path / "cache", order_test=True)
    result = fit(recipe, Data(data=folder_of_videos), place)
    model, card = load_model(result.folder.model)
    paths = [Path(path) for path in read_predictions(result.folder.path / "predictions.jsonl").paths]
    clips = Manifest(tuple(Clip(path, card.classes.index(path.parent.name)) for path in paths), card.classes)
    videos = VideoDataset(clips, 4, card.sampling, card.preprocess).in_orders(orders(4))
    cached = cached_videos(card, videos, tmp_path / "cache")
    assert cached is not None
    cached = cached.in_orders(orders(4))
    assert all(cached.held(0, i) for i in range(len(cached)))
    one, other = (score_orders(model, clips, EVERY, Accelerator(cpu=True)) for clips in (cached, videos))
    for order in EVERY:
        assert (one[order].probabilities - other[order].probabilities).abs().max() <= 5e-3, order
        moved = (one[order].probabilities - one[FULL].probabilities).abs().max()
        assert order == FULL or (moved > 1e-4) == (order == "frozen" or not isinstance(method, LinearProbe)), order


def test_clips_whose_other_orders_are_not_in_the_cache_are_decoded(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], decoded: list[str]
) -> None:
    out, cache = tmp_path / "run", tmp_path / "cache"
    run("train", "evl", "--data", folder_of_videos, "--backbone", tiny_clip, "--layers", 2, *SMALL, "--out", out,
        "--cache", cache, "--no-report")  # fmt: skip
    assert "order" not in read(out / "results.json")
    capsys.readouterr()
    decoded.clear()  # for the cache
    words = ["eval", out / "model.safetensors", "--data", folder_of_videos, "--cache", cache, "--device", "cpu",
             "--no-report"]  # fmt: skip
    run(*words, "--out", tmp_path / "a")
    assert not decoded and "order" not in read(tmp_path / "a" / "eval.json")
    run(*words, "--out", tmp_path / "b", "--order-test")
    assert len(decoded) == 12 and "order" in read(tmp_path / "b" / "eval.json")


def test_a_tuned_tower_is_tested_on_pixels_and_its_last_validation_is_not_done_twice(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, decoded: list[str]
) -> None:
    recipe = replace(RECIPES["vificlip"](), backbone=str(tiny_clip))
    train = replace(recipe.train, epochs=1, batch_size=4, device="cpu", workers=0, eval_every=0, warmup=0.0)
    recipe = replace(recipe, method=replace(recipe.method, num_frames=4), train=train, flip=0.0, augment="none")
    recipe = replace(recipe, sampling=replace(recipe.sampling, views=2))
    place = Place(out=tmp_path / "once", order_test=True)
    result = fit(recipe, Data(data=folder_of_videos), place)
    assert len(decoded) == result.report.scored, "each held-out video once for four orders"
    assert result.report.order is not None and set(result.report.order.top1) == {*EVERY}
    assert result.report.order.top1[FULL] == result.report.top1
    again = fit(recipe, Data(data=folder_of_videos), place, keep=True)
    assert again.report.order == result.report.order, "read back"
    seen = replace(recipe, train=replace(train, eval_every=1, keep="best"))
    decoded.clear()
    result = fit(seen, Data(data=folder_of_videos), Place(out=tmp_path / "seen", order_test=True))
    assert len(decoded) == 2 * result.report.scored, "the last validation, and the other orders"
    report = stillmotion.evaluate(result.folder.model, data=folder_of_videos, order_test=True)
    assert report.order is not None and report.order.top1[FULL] == report.top1
    assert stillmotion.evaluate(result.folder.model, data=folder_of_videos).order is None


def test_class_names_alone_are_tested_too(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, decoded: list[str]
) -> None:
    """A mean over frames has no order, but one frame is not all of them."""
    run("eval", "zero_shot", "--data", folder_of_videos, "--backbone", tiny_clip, "--device", "cpu", "--views", 2,
        "--order-test", "--out", tmp_path / "e", "--no-report")  # fmt: skip
    found = read(tmp_path / "e" / "eval.json")
    assert found["order"]["shuffled"] == found["order"]["reversed"] == found["order"]["full"] == found["top1"]
    assert len(decoded) == 12


def test_bad_videos_are_named_once(tmp_path: Path, folder_of_videos: Path, tiny_clip: Path) -> None:
    import shutil

    data = tmp_path / "videos"
    shutil.copytree(folder_of_videos, data)
    (data / "left" / "bad.mp4").write_text("no video")
    run("eval", "zero_shot", "--data", data, "--backbone", tiny_clip, "--device", "cpu", "--order-test", "--max-bad",
        "0.5", "--out", tmp_path / "e", "--no-report")  # fmt: skip
    found = read(tmp_path / "e" / "eval.json")
    assert [Path(bad["path"]).name for bad in found["bad"]] == ["bad.mp4"] and found["scored"] == 12
    assert len((tmp_path / "e" / "bad_videos.jsonl").read_text().splitlines()) == 1


def test_unknown_pace() -> None:
    with pytest.raises(TypeError, match="wrokers"):
        stillmotion.evaluate("x.safetensors", data="nowhere", wrokers=2)  # type: ignore[call-arg]
