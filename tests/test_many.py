"""Many videos: in order, past bad ones, equal to one at a time; and embeddings of every method."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import stillmotion
from stillmotion.classifier import Classifier
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import StillmotionError, VideoError
from stillmotion.libraries.models import TorchvisionVideo
from stillmotion.methods import METHODS
from stillmotion.models.video_clip import CosineHead
from stillmotion.open_vocabulary import from_backbone
from stillmotion.progress import progress_bar
from tests.conftest import tiny_backbone
from tests.videos import write_video

NAMES = ("left", "right", "up")
SIZES: dict[str, dict[str, Any]] = {
    "evl": {"layers": 2},
    "change_probe": {"blocks": 2},
    "actionclip": {"layers": 1},
    "a5": {"prefix": 2, "postfix": 2},
}


def of_method(name: str, **changes: Any) -> Classifier:
    """A classifier of a method, with random weights, that reads two views of three crops."""
    torch.manual_seed(0)
    method = METHODS[name](**{"num_frames": 4, **SIZES.get(name, {}), **changes})
    model = method.build(tiny_backbone(), NAMES)
    with torch.no_grad():  # what starts at nothing would hide what it does
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    size, sampling = Preprocess(size=(32, 32)), Sampling(views=2, crops=3)
    return Classifier(model, preprocess=size, sampling=sampling, num_frames=4, classes=NAMES, device="cpu")


@pytest.fixture(scope="module")
def clips(folder_of_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Good and bad videos of every form, in a mixed order."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "text.mp4").write_text("no video")
    paths = sorted(folder_of_videos.rglob("*.mp4"))
    frames = stillmotion.open_video(paths[5]).frames(range(16)).permute(0, 2, 3, 1)
    bad = [folder / "none.mp4", folder / "text.mp4", 7, "rtsp://cam/1", frames.float()]
    good: list[Any] = [*paths[:5], paths[6].read_bytes(), stillmotion.open_video(paths[7]), frames, frames.numpy()]
    good += [list(frames.numpy()), str(write_video(folder / "one.mp4", frames=1))]
    return [*bad[:2], good[0], bad[2], *good[1:4], *bad[3:], *good[4:]]


def one_at_a_time(run: Any, videos: list[Any]) -> list[Any]:
    found = []
    for video in videos:
        try:
            found.append(run(video))
        except StillmotionError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch", [1, 5, 8, 64])
def test_many_are_as_one_at_a_time(clips: list[Any], batch: int, workers: int) -> None:
    classifier = of_method("vificlip")
    expected = one_at_a_time(classifier, clips)
    found = list(classifier.predict(clips, batch=batch, workers=workers))
    assert all(outcome.video is clip for outcome, clip in zip(found, clips, strict=True))
    assert sum(isinstance(e, str) for e in expected) == 5
    for outcome, one in zip(found, expected, strict=True):
        if isinstance(one, str):
            assert (str(outcome.error), outcome.value) == (one, None)
            with pytest.raises(VideoError):
                outcome.get()
        else:
            assert outcome.error is None and outcome.get() is outcome.value
            assert outcome.value.label == one.label
            assert outcome.value.scores == pytest.approx(one.scores, abs=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", METHODS)
def test_embeddings_of_every_method(clips: list[Any], name: str, workers: int) -> None:
    classifier = of_method(name)
    expected = one_at_a_time(classifier.embed, clips)
    for outcome, one in zip(classifier.embeddings(clips, batch=7, workers=workers), expected, strict=True):
        if isinstance(one, str):
            assert str(outcome.error) == one
            continue
        width = {"evl": 64, "step": 64, "attentive_probe": 64, "change_probe": 2 * 2 * 2 * 64}.get(name, 32)
        assert one.shape == (width,) and one.dtype == torch.float32
        assert torch.allclose(outcome.get(), one, atol=1e-6)
        if classifier.model.open_vocabulary:
            assert one.norm().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_logits_are_the_heads_of_the_embedding(video: Path, name: str) -> None:
    changes = {"templates": ("a {}",)} if name == "actionclip" else {"alpha": 0.0} if name == "xclip" else {}
    classifier = of_method(name, **changes)
    model, views = classifier.model, classifier.read(video)
    if name == "xclip":
        model.head.alpha.data.zero_()  # else class embeddings move with the video
    with torch.no_grad():
        embedding, logits = model.encode_video(views), model.classify(views, classifier.text)
        assert torch.equal(model.encode_video(model.visual(views)), embedding), "from the tower's outputs too"
        if isinstance(model.head, CosineHead):
            assert torch.allclose(embedding.norm(dim=1), torch.ones(6))
            cosines = embedding @ F.normalize(classifier.text, dim=-1).T
            scaled = model.head.scale * cosines
            bias = getattr(model.head, "logit_bias", None)
            assert torch.allclose(scaled if bias is None else scaled + bias, logits, atol=1e-4)
        else:
            assert torch.allclose(model.head(embedding, None, {}), logits, atol=1e-6)


def test_an_embedding_finds_the_name_that_the_prediction_gives(tiny_clip: Path, video: Path) -> None:
    classifier = from_backbone("zero_shot", NAMES, backbone=str(tiny_clip), device="cpu")
    cosines = classifier.embed(video) @ F.normalize(classifier.text, dim=-1).T
    assert NAMES[int(cosines.argmax())] == classifier(video).label


def test_without_names_there_are_embeddings_and_no_predictions(tiny_image_tower: Path, video: Path) -> None:
    classifier = from_backbone("zero_shot", None, backbone=str(tiny_image_tower), device="cpu")
    assert classifier.embed(video).shape == (32,)
    with pytest.raises(StillmotionError, match=r"has no classes yet; assign classifier\.classes"):
        classifier.predict([video])


def test_frames_are_explained_as_their_file(folder_of_videos: Path) -> None:
    path = next(folder_of_videos.rglob("*.mp4"))
    classifier = of_method("vificlip")
    one, other = (classifier.explain(video) for video in (path, path.read_bytes()))
    assert one.prediction == other.prediction and torch.equal(one.frames, other.frames)


def test_results_come_as_their_batch_is_done(folder_of_videos: Path) -> None:
    paths, taken = sorted(folder_of_videos.rglob("*.mp4")), 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield paths[taken % len(paths)]

    classifier = replace_sampling(of_method("linear_probe"))
    for workers, most in ((0, 3), (2, 5)):
        taken, results = 0, classifier.predict(endless(), batch=3, workers=workers)
        assert taken == 0, "nothing is read before it is asked for"
        first = next(results)
        assert first.video == paths[1 % len(paths)] and taken <= most + workers
        results.close()  # type: ignore[attr-defined]


def replace_sampling(classifier: Classifier) -> Classifier:
    classifier.sampling = replace(classifier.sampling, views=1, crops=1)
    return classifier


def test_classes_that_are_assigned_meanwhile_are_for_the_next_call(clips: list[Any]) -> None:
    classifier = of_method("zero_shot")
    results = classifier.predict(clips[:3] * 4, batch=6)
    first = next(results)
    classifier.classes = ["a", "b"]
    assert {tuple(sorted(o.value.scores)) for o in [first, *results] if o.value} == {tuple(sorted(NAMES))}


def test_scores_that_are_no_numbers_are_an_error_of_that_video_alone(
    folder_of_videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = replace_sampling(of_method("linear_probe"))
    classify = classifier.model.classify

    def second_is_not_finite(video: torch.Tensor, text: Any = None) -> torch.Tensor:
        logits = classify(video, text)
        logits[1] = float("nan")
        return logits

    monkeypatch.setattr(classifier.model, "classify", second_is_not_finite)
    paths = sorted(folder_of_videos.rglob("*.mp4"))[:3]
    first, second, third = classifier.predict(paths)
    assert first.error is None and third.error is None
    assert f"the scores of {paths[1]} are not finite" in str(second.error)


def test_the_mode_of_the_caller_is_not_changed_between_results(clips: list[Any]) -> None:
    for _ in of_method("linear_probe").predict(clips[:4], batch=1):
        assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("videos", "options", "message"),
    [
        ("surf.mp4", {}, r"surf\.mp4 is one video; pass a list of videos"),
        (b"x", {}, "bytes is one video"),
        (io.BytesIO(b"x"), {}, "is one video"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.uint8), {}, r"frames \(4, 8, 8, 3\) is one video"),
        (7, {}, "a int holds no videos"),
        ([], {"batch": 0}, "batch is 0; it must be at least 1"),
        ([], {"workers": -1}, "workers is -1; it must be at least 0"),
    ],
)
def test_misuse_is_said_before_anything_is_read(videos: Any, options: dict[str, int], message: str) -> None:
    for run in (of_method("linear_probe").predict, of_method("linear_probe").embeddings):
        with pytest.raises(StillmotionError, match=message):
            run(videos, **options)


def test_none_are_none() -> None:
    assert list(of_method("linear_probe").predict([])) == []


def test_models_of_other_libraries_have_no_embeddings(video: Path) -> None:
    other = Classifier(
        TorchvisionVideo(torch.nn.Identity()),
        preprocess=Preprocess(),
        sampling=Sampling(),
        num_frames=4,
        classes=NAMES,
        device="cpu",
    )
    for run in (lambda: other.embed(video), lambda: other.embeddings([video])):
        with pytest.raises(StillmotionError, match="this model is another library's and gives class scores only"):
            run()


def test_representations_are_short(clips: list[Any]) -> None:
    classifier = of_method("vificlip")
    good, bad = clips[2], clips[0]
    first, second = classifier.predict([good, bad])
    label = first.get().label
    assert repr(first).startswith(f"Outcome({str(good)!r}, value=Prediction(label={label!r}, score=0.")
    assert repr(second) == f"Outcome({str(bad)!r}, error={second.error!r})"
    many = classifier.with_classes([f"class {i}" for i in range(400)])
    assert repr(many.vocabulary) == "<Vocabulary: 400 classes, 'class 0', 'class 1', 'class 2', ...>"
    assert len(repr(many(good))) < 200 and repr(many(good)).endswith(", ...})")


def test_a_bar_leaves_standard_output_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal whose standard output goes to a file, results go there too."""
    from stillmotion.progress import console

    monkeypatch.setattr(console, "_force_terminal", True)
    with progress_bar("reading", None) as advance:
        print("a result")
        advance()
    out, err = capsys.readouterr()
    assert out == "a result\n" and "a result" not in err
