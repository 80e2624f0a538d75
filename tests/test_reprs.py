"""What Python prints of every public thing is one short line that says the most important."""

import pickle
from pathlib import Path

import pytest

import stillmotion
from tests.explain.test_figures import made
from tests.test_many import of_method


@pytest.fixture(scope="module")
def result(folder_of_videos: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> stillmotion.Result:
    out = tmp_path_factory.mktemp("reprs") / "run"
    return stillmotion.train("linear_probe", data=folder_of_videos, backbone=str(tiny_clip), epochs=1, num_frames=4,
                             device="cpu", out=out, order_test=True)  # fmt: skip


def test_a_run_and_its_numbers(result: stillmotion.Result) -> None:
    top1 = f"top-1 {100 * result.report.top1:.1f} %"
    assert repr(result) == f"<Result: {top1}, 2 videos, {result.folder.path}>"
    assert repr(result.report) == f"<Report: {top1}, 2 videos, 2 classes, order tested>"
    order = result.report.order
    assert order is not None and repr(order).startswith(f"<OrderTest: full {100 * order.top1['full']:.1f} %, shuffled ")
    assert repr(result.folder) == f"<RunFolder: {result.folder.path}, finished>"
    assert repr(result.scores) == "<Scores: 2 of 2 videos, 2 classes>"
    assert pickle.loads(pickle.dumps(result.report)) == result.report


def test_everything_public_is_short(result: stillmotion.Result, video: Path) -> None:
    explanation = made()
    assert (
        repr(explanation)
        == "<Explanation: surf, 3 frames, maps rollout, class: surf, query, tower, tower before tuning>"
    )
    assert repr(explanation.maps["query"]) == "<Map: 3 frames of 4x6 patches, sums to one over video>"
    classifier = of_method("zero_shot")
    for one in (result, result.report, result.scores, classifier, classifier.vocabulary, stillmotion.open_video(video)):
        assert len(repr(one)) < 160 and "\n" not in repr(one), repr(one)
    assert len(repr(classifier.model)) > 160, "a torch module says its layers, as all do"
