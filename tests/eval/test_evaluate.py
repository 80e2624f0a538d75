"""Scores count each video once; numbers agree with plain counting."""

import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from stillmotion.data.bad import BadVideo, BadVideos
from stillmotion.data.dataset import VideoDataset
from stillmotion.data.manifest import Clip, Manifest, read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import DataError, StillmotionError
from stillmotion.eval.evaluate import score
from stillmotion.eval.report import Report, Scores, read_predictions, within_pairs, write_predictions
from stillmotion.methods import LinearProbe
from tests.conftest import tiny_backbone


def scores(labels: list[int], probabilities: list[list[float]], **rest: object) -> Scores:
    return Scores(
        indices=torch.arange(len(labels)),
        labels=torch.tensor(labels),
        probabilities=torch.tensor(probabilities),
        total=len(labels),
        **rest,
    )


def test_numbers_agree_with_plain_counting() -> None:
    torch.manual_seed(0)
    labels, p = torch.randint(0, 6, (200,)), torch.rand(200, 8).softmax(-1)
    classes = tuple("abcdefgh")  # two classes have no video
    report = Report.of(scores(labels.tolist(), p.tolist()), classes)
    predicted = p.argmax(-1)
    assert report.top1 == pytest.approx((predicted == labels).float().mean().item())
    in_five = (p.topk(5).indices == labels[:, None]).any(-1).float().mean().item()
    assert report.top5 == pytest.approx(in_five)
    per_class = [(predicted[labels == k] == k).float().mean().item() for k in range(6)]
    assert report.mean_class == pytest.approx(sum(per_class) / 6)
    for k in range(8):
        hits = int(((predicted == k) & (labels == k)).sum())
        total = int((predicted == k).sum() + (labels == k).sum())
        assert report.f1[k] == pytest.approx(2 * hits / total)
        assert report.precision[k] == pytest.approx(hits / max(1, int((predicted == k).sum())))
        assert report.recall[k] == pytest.approx(hits / max(1, int((labels == k).sum())))
        assert report.support[k] == int((labels == k).sum())
        assert [int(((labels == k) & (predicted == j)).sum()) for j in range(8)] == list(report.confusion[k])
    assert "on 200 videos" in str(report)
    assert "top-5" in str(report)
    low, high = report.top1_interval
    assert f"(95 % interval {100 * low:.1f} to {100 * high:.1f})" in str(report)


def test_fewer_than_five_classes() -> None:
    report = Report.of(scores([0, 1], [[0.9, 0.1], [0.8, 0.2]]), ("a", "b"))
    assert (report.top1, report.top5, report.confusion) == (0.5, 1.0, ((1, 0), (1, 0)))
    assert "top-5" not in str(report)
    five = Report.of(scores([0], [[0.2] * 5]), tuple("abcde"))
    assert "top-5" not in str(five)


def test_within_pairs_looks_at_the_two_alone() -> None:
    classes = ("left", "right", "other")
    s = scores([0, 1, 0, 2], [[0.2, 0.1, 0.7], [0.3, 0.1, 0.6], [0.1, 0.8, 0.1], [0, 0, 1.0]])
    assert within_pairs(s, classes, (("left", "right"),)) == pytest.approx(1 / 3)


def test_predictions_survive_a_file(tmp_path: Path) -> None:
    s = scores([1, 0], [[0.25, 0.75], [0.5, 0.5]])
    write_predictions(tmp_path / "p.jsonl", s, [Path("a.mp4"), Path("b.mp4")], ("x", "y"))
    back = read_predictions(tmp_path / "p.jsonl")
    assert torch.equal(back.probabilities.float(), s.probabilities)
    assert (back.paths, back.classes) == (("a.mp4", "b.mp4"), ("x", "y"))
    assert torch.equal(back.labels, s.labels)
    (tmp_path / "p.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="evaluate again"):
        read_predictions(tmp_path / "p.jsonl")


def test_each_video_once_and_the_bad_ones_by_name(folder_of_videos: Path, tmp_path: Path) -> None:
    manifest = read_manifest(folder_of_videos)
    (tmp_path / "bad.mp4").write_text("no video")
    clips = (*manifest.clips[:5], Clip(tmp_path / "bad.mp4", 0), *manifest.clips[5:])
    dataset = VideoDataset(Manifest(clips, manifest.classes), 4, Sampling(views=2), Preprocess(size=(32, 32)))
    model = LinearProbe().build(tiny_backbone(text=False), manifest.classes).eval()
    found = score(model, dataset, Accelerator(cpu=True), batch_views=4)
    assert found.indices.tolist() == [0, 1, 2, 3, 4, *range(6, 13)]
    assert [Path(b.path).name for b in found.bad] == ["bad.mp4"]
    report = Report.of(found, manifest.classes)
    assert (report.videos, report.scored, len(report.bad)) == (13, 12, 1)
    assert "1 of 13 videos could not be read" in str(report)
    assert torch.allclose(found.probabilities.sum(-1), torch.ones(12))


def test_views_are_averaged_as_probabilities(folder_of_videos: Path) -> None:
    manifest = read_manifest(folder_of_videos)
    dataset = VideoDataset(manifest, 2, Sampling(views=3, crops=3), Preprocess(size=(32, 32)))
    torch.manual_seed(0)
    model = LinearProbe().build(tiny_backbone(text=False), manifest.classes).eval()
    found = score(model, dataset, Accelerator(cpu=True), batch_views=5)
    with torch.no_grad():
        for i in (0, 7):
            expected = model.classify(dataset[0, i].views).softmax(-1).mean(0)
            assert (found.probabilities[i] - expected).abs().max() <= 1e-6


class Recorded(torch.nn.Module):
    """A model that notes how many views it is given at a time, and scores a view by its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []

    def forward(self, views: object, text: object = None) -> torch.Tensor:
        pixels = views["pixels"] if isinstance(views, dict) else views
        self.given.append(len(pixels))
        return torch.stack([pixels.flatten(1).mean(1), pixels.flatten(1).std(1)], dim=1)


@pytest.mark.parametrize(("views", "crops"), [(4, 3), (1, 1), (3, 1)])
def test_a_forward_has_few_views_whatever_a_clip_has(folder_of_videos: Path, views: int, crops: int) -> None:
    """48 views of a large model in one forward do not fit into memory; one view at a time is slow."""
    manifest = read_manifest(folder_of_videos)
    dataset = VideoDataset(manifest, 2, Sampling(views=views, crops=crops), Preprocess(size=(16, 16)))
    model = Recorded()
    found = score(model, dataset, Accelerator(cpu=True))
    assert max(model.given) == 8
    assert sum(model.given) == 12 * views * crops
    for i in range(12):
        expected = Recorded()(dataset[0, i].views).softmax(-1).mean(0)
        assert (found.probabilities[i] - expected).abs().max() <= 1e-6


def test_features_are_split_like_pixels(folder_of_videos: Path) -> None:
    """Nested mappings and tuples of tensors whose first axis is the views; None stays None."""
    manifest = read_manifest(folder_of_videos)

    class Cached(VideoDataset):
        @staticmethod
        def collate(samples):  # type: ignore[no-untyped-def]
            batch = VideoDataset.collate(samples)
            return batch._replace(views={"pixels": batch.views, "taps": (batch.views, None)})

    size = Preprocess(size=(16, 16))
    plain, cached = (kind(manifest, 2, Sampling(views=5), size) for kind in (VideoDataset, Cached))
    model = Recorded()
    found = score(model, cached, Accelerator(cpu=True), batch_views=3)
    assert max(model.given) == 3
    assert torch.equal(
        found.probabilities, score(Recorded(), plain, Accelerator(cpu=True), batch_views=3).probabilities
    )
    with pytest.raises(StillmotionError, match="batch-views is 0; it must be at least 1"):
        score(model, cached, Accelerator(cpu=True), batch_views=0)


def test_workers_read_the_same_videos_in_the_same_order(folder_of_videos: Path, tmp_path: Path) -> None:
    manifest = read_manifest(folder_of_videos)
    (tmp_path / "bad.mp4").write_text("no video")
    clips = (*manifest.clips[:5], Clip(tmp_path / "bad.mp4", 0), *manifest.clips[5:])
    dataset = VideoDataset(Manifest(clips, manifest.classes), 2, Sampling(), Preprocess(size=(16, 16)))
    alone, helped = (score(Recorded(), dataset, Accelerator(cpu=True), workers=n) for n in (0, 2))
    assert torch.equal(alone.probabilities, helped.probabilities)
    assert (helped.indices.tolist(), helped.bad) == (alone.indices.tolist(), alone.bad)


def test_scores_that_are_no_numbers_are_refused(folder_of_videos: Path) -> None:
    manifest = read_manifest(folder_of_videos)
    dataset = VideoDataset(manifest, 2, Sampling(), Preprocess(size=(32, 32)))
    model = LinearProbe().build(tiny_backbone(text=False), manifest.classes).eval()
    torch.nn.init.constant_(model.head[-1].bias, float("nan"))
    with pytest.raises(StillmotionError, match=r"the scores of .*source0_0\.mp4 are not finite.*load other weights"):
        score(model, dataset, Accelerator(cpu=True))


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    dataset = VideoDataset(
        Manifest((Clip(tmp_path / "bad.mp4", 0),), ("a", "b")), 2, Sampling(), Preprocess(size=(32, 32))
    )
    with pytest.raises(DataError, match="none of the 1 videos could be read"):
        score(LinearProbe().build(tiny_backbone(text=False), ["a", "b"]), dataset, Accelerator(cpu=True))


def test_a_video_scored_twice_would_be_noticed(folder_of_videos: Path) -> None:
    manifest = read_manifest(folder_of_videos)

    class Twice(VideoDataset):
        def __getitem__(self, key):  # type: ignore[no-untyped-def]
            return super().__getitem__((key[0], 0))

    dataset = Twice(manifest, 2, Sampling(), Preprocess(size=(32, 32)))
    with pytest.raises(AssertionError, match="scored twice"):
        score(LinearProbe().build(tiny_backbone(text=False), manifest.classes), dataset, Accelerator(cpu=True))


def test_a_bad_video_counts_once_and_too_many_end_the_run(tmp_path: Path) -> None:
    bad = BadVideos(tmp_path / "out" / "bad.jsonl", total=4, max_bad=0.25)
    assert bad.summary() == ""
    for _ in range(2):  # once in each epoch
        bad.add(BadVideo("a.mp4", "a.mp4 is empty"))
    assert bad.summary().startswith("1 of 4 videos could not be read and were skipped, listed in ")
    with pytest.raises(DataError, match=r"2 of 4 videos cannot be read, more than --max-bad 0\.25 allows .*b is cut"):
        bad.add(BadVideo("b.mp4", "b is cut"))
    lines = (tmp_path / "out" / "bad.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"path": "a.mp4", "reason": "a.mp4 is empty"},
        {"path": "b.mp4", "reason": "b is cut"},
    ]
