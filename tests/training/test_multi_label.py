"""Videos with several labels: what lists say, the losses by hand, and a run from list to prediction."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score

import stillmotion
from stillmotion.cli import main
from stillmotion.data.manifest import read_manifest
from stillmotion.data.multi_label import hot
from stillmotion.data.source import Data
from stillmotion.errors import DataError, StillmotionError
from stillmotion.eval.multi_label import MultiLabelReport, report_of
from stillmotion.eval.report import Scores, read_predictions
from stillmotion.experiment import Result, fit
from stillmotion.methods import EVL, LinearProbe, ViFiCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from stillmotion.training.multi_label import asymmetric_loss, make_multi_label

TRAIN = Train(lr=1e-2, epochs=3, batch_size=4, device="cpu", workers=0)


def test_lists_with_bars(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    with pytest.raises(DataError, match="has an empty part"):
        (tmp_path / "bad.txt").write_text("a.mp4 run||jump\n")
        read_manifest(tmp_path / "bad.txt")
    listed.write_text("a.mp4 run|jump\nb.mp4 jump\nc d.mp4\tsit | run\n")
    found = read_manifest(listed)
    assert found.multi_label and found.classes == ("jump", "run", "sit")
    assert [clip.labels for clip in found.clips] == [(0, 1), (0,), (1, 2)]
    assert found.counts() == [2, 2, 1]
    assert hot(found.clips, 3).tolist() == [[1, 1, 0], [1, 0, 0], [0, 1, 1]]
    listed.write_text("path,label\na.mp4,run|jump\nb.mp4,jump\n")
    assert read_manifest(listed.rename(tmp_path / "list.csv")).clips[0].labels == (0, 1)
    (tmp_path / "one.txt").write_text("a.mp4 run\nb.mp4 jump\n")
    one = read_manifest(tmp_path / "one.txt")
    assert not one.multi_label and [clip.labels for clip in one.clips] == [(), ()]
    with pytest.raises(DataError, match="unknown label 'fly'"):
        (tmp_path / "fly.txt").write_text("a.mp4 run|fly\n")
        read_manifest(tmp_path / "fly.txt", ("run", "jump"))
    (tmp_path / "bar.txt").write_text("a.mp4 a|b\nb.mp4 c\n")
    assert not read_manifest(tmp_path / "bar.txt", ("a|b", "c")).multi_label, "a class of that name is one class"


def test_the_asymmetric_loss_by_hand() -> None:
    """p = 0.2 and 0.8, gamma+ 1, gamma- 4, margin 0.05."""
    logits = torch.tensor([math.log(0.2 / 0.8), math.log(0.8 / 0.2)], dtype=torch.float64)
    yes = asymmetric_loss(logits, torch.ones(2))
    assert yes.tolist() == pytest.approx([-0.8 * math.log(0.2), -0.2 * math.log(0.8)])
    no = asymmetric_loss(logits, torch.zeros(2))
    assert no.tolist() == pytest.approx([-(0.15**4) * math.log(0.85), -(0.75**4) * math.log(0.25)])
    easy = torch.tensor([-4.0], requires_grad=True)  # p is 0.018, below the margin: it costs and teaches nothing
    loss = asymmetric_loss(easy, torch.zeros(1))
    loss.backward()
    assert loss.item() == 0 and easy.grad is not None and easy.grad.item() == 0


def test_without_focus_and_margin_it_is_binary_cross_entropy() -> None:
    logits, targets = torch.randn(5, 7).double() * 3, (torch.rand(5, 7) > 0.5).double()  # 1 - p cancels in float32
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    assert (asymmetric_loss(logits, targets, 0, 0, 0) - expected).abs().max() <= 1e-5
    far = torch.tensor([1e4, -1e4], requires_grad=True)
    for target in (0.0, 1.0):
        loss = asymmetric_loss(far, torch.full((2,), target)).sum()
        (gradient,) = torch.autograd.grad(loss, far)
        assert math.isfinite(loss.item()) and bool(gradient.isfinite().all())
    bce = make_multi_label(targets, replace(TRAIN, multi_label_loss="bce"), needs_text=False)
    assert torch.allclose(bce.losses(logits, targets), expected.sum(-1))


def test_numbers_by_hand_and_by_scikit_learn() -> None:
    targets = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
    p = torch.tensor([[0.9, 0.4, 0.1], [0.8, 0.7, 0.2], [0.6, 0.5, 0.3], [0.1, 0.2, 0.9]])
    scores = Scores(indices=torch.arange(4), labels=torch.zeros(4).long(), probabilities=p, targets=targets, total=4)
    report = report_of(scores, ("a", "b", "never"))
    assert isinstance(report, MultiLabelReport)
    # Of a: ranks 1 and 3 of 0.9, 0.8, 0.6: (1 + 2/3) / 2. Of b: ranks 1 and 3 of 0.7, 0.5, 0.4: the same.
    assert report.average_precision == (pytest.approx(5 / 6), pytest.approx(5 / 6), None)
    assert report.mean_ap == pytest.approx(5 / 6) and report.without_positives == 1 and report.counted == 2
    assert report.average_precision[0] == average_precision_score(targets[:, 0], p[:, 0])
    assert report.support == (2, 2, 0)
    assert report.precision == pytest.approx((2 / 3, 1 / 2, 0)) and report.recall == pytest.approx((1, 1 / 2, 0))
    assert report.top1 == 2 / 4, "0.9 of a and 0.6 of a are right, 0.8 of a and 0.9 of the third are not"
    assert "mAP 83.3 % over 2 classes (1 without videos left out)" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["average_precision"][2] is None


@pytest.fixture(scope="module")
def lists(folder_of_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What moves left or right, and in every clip `moving` too; one class has no validation clip."""
    root = tmp_path_factory.mktemp("lists")
    for i, path in enumerate(sorted(folder_of_videos.rglob("*.mp4"))):
        labels = [path.parent.name, "moving"] if i % 2 else [path.parent.name]
        part = "val" if i % 6 in (2, 3) else "train"
        labels += ["first"] if i == 0 else []
        with (root / f"{part}.txt").open("a") as file:
            file.write(f"{path} {'|'.join(labels)}\n")
    return root


@pytest.fixture(scope="module")
def trained(lists: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("multi")
    recipe = Recipe(method=LinearProbe(num_frames=4), train=replace(TRAIN, keep="best"), backbone=str(tiny_clip))
    place = Place(out=out / "run", cache=out / "cache")
    return fit(recipe, Data(data=lists / "train.txt", val=lists / "val.txt"), place)


def test_a_run_from_lists_to_numbers(trained: Result, lists: Path) -> None:
    folder, report = trained.folder.path, trained.report
    assert isinstance(report, MultiLabelReport) and report.classes == ("first", "left", "moving", "right")
    assert report.scored == 4 and report.average_precision[0] is None and report.without_positives == 1
    read = read_predictions(folder / "predictions.jsonl", several=True)
    assert read.targets is not None and read.targets.sum(dim=0).tolist() == [0, 2, 2, 2]
    assert report_of(read, read.classes).mean_ap == pytest.approx(report.mean_ap)  # type: ignore[attr-defined]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = max(line["mean_ap"] for line in metrics if "mean_ap" in line)
    assert report.mean_ap == pytest.approx(best), "the best epoch is the one with the best mAP"
    assert json.loads((folder / "results.json").read_text())["card"]["mean_ap"] == pytest.approx(report.mean_ap)
    with pytest.raises(DataError, match="several labels"):
        read_predictions(folder / "predictions.jsonl")


def test_the_model_says_several(
    trained: Result, lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = stillmotion.load(trained.folder.model)
    assert model.multi_label
    video = (lists / "val.txt").read_text().split()[0]
    prediction = model(video)
    row = read_predictions(trained.folder.path / "predictions.jsonl", several=True).probabilities[0]
    assert sorted(prediction.scores.values()) == pytest.approx(sorted(row.tolist()), abs=1e-3)
    assert prediction.above(0.5) == [(n, s) for n, s in prediction.scores.items() if s >= 0.5]
    assert stillmotion.evaluate(model, data=lists / "val.txt").mean_ap == pytest.approx(trained.report.mean_ap)  # type: ignore[attr-defined]
    file = tmp_path / "model.safetensors"
    shutil.copy(trained.folder.model, file)
    main(["eval", str(file), "--data", str(lists / "val.txt"), "--device", "cpu"])
    told = capsys.readouterr().out
    assert "mAP" in told and "over 3 classes (1 without videos left out)" in told
    page = (tmp_path / "eval_report.html").read_text()
    assert "average precision" in page and "Confusion" not in page
    assert json.loads((tmp_path / "eval.json").read_text())["mean_ap"] == pytest.approx(trained.report.mean_ap)
    main(["predict", str(file), video, "--json", "--threshold", "0", "--device", "cpu"])
    assert set(json.loads(capsys.readouterr().out)["labels"]) == set(model.classes)
    main(["predict", str(file), video, "--threshold", "1", "--device", "cpu"])
    assert "no class is at 1.0; the best is" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(file), video, "--threshold", "2", "--device", "cpu"])


def test_learns_labels_of_which_none_excludes_another(trained: Result, lists: Path, tiny_clip: Path) -> None:
    """On the clips that it was trained on the ranking becomes right, under either loss."""
    for kind in ("bce", "asymmetric"):
        train = replace(TRAIN, lr=0.05, epochs=30, eval_every=0, multi_label_loss=kind)  # type: ignore[arg-type]
        recipe: Recipe[Any] = Recipe(method=LinearProbe(num_frames=4), train=train, backbone=str(tiny_clip))
        out = trained.folder.path.parent
        place = Place(out=out / kind, cache=out / "cache")
        data = Data(data=lists / "train.txt", val=lists / "train.txt", duplicates="keep")
        report = fit(recipe, data, place).report
        assert isinstance(report, MultiLabelReport) and report.mean_ap > 0.95, kind
        assert np.array(report.support).sum() > report.scored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": True}, "--mix is for one of each"),
        ({"label_smoothing": 0.1}, "--label-smoothing is for one of each"),
        ({"sampler": "balanced"}, "--sampler balanced is for one of each"),
        ({"logit_adjustment": 1.0}, "--logit-adjustment is for one of each"),
    ],
)
def test_options_of_one_label_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StillmotionError, match=message):
        make_multi_label(torch.ones(2, 2), replace(TRAIN, **options), needs_text=False)


def test_what_is_for_one_label_is_refused(lists: Path, tiny_clip: Path, tmp_path: Path) -> None:
    data = Data(data=lists / "train.txt", val=lists / "val.txt")
    with pytest.raises(StillmotionError, match="makes class names compete"):
        fit(
            Recipe(method=ViFiCLIP(num_frames=2), train=TRAIN, backbone=str(tiny_clip)), data, Place(out=tmp_path / "v")
        )
    evl = Recipe(method=EVL(num_frames=4, layers=2), train=TRAIN, backbone=str(tiny_clip))
    with pytest.raises(StillmotionError, match=r"several labels .*the order test takes one"):
        fit(evl, data, Place(out=tmp_path / "o", order_test=True))
    for words in (["train", "auto"], ["sweep", "evl", "--lr", "1e-3", "1e-4"]):
        options = ["--data", str(lists / "train.txt"), "--val", str(lists / "val.txt"), "--backbone", str(tiny_clip)]
        with pytest.raises(SystemExit, match="2"):
            main([*words, *options, "--out", str(tmp_path / words[0])])
    for options in ({"margin": 1.0}, {"focus": (0.5, 4.0)}, {"focus": (1.0, math.inf)}):
        with pytest.raises(StillmotionError, match=r"margin is 1|focus is"):
            replace(TRAIN, **options)  # type: ignore[arg-type]
