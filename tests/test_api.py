"""Training and evaluation as calls are those of the command line; types are seen from outside."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import stillmotion
from stillmotion.cli import main
from stillmotion.errors import DataError, StillmotionError
from stillmotion.recipes import RECIPES
from stillmotion.training.loop import Stopped
from tests.methods import test_vificlip
from tests.methods.golden_clip import clip_state
from tests.test_many import of_method
from tests.videos import write_video

SMALL = {"epochs": 1, "num_frames": 4, "device": "cpu"}


def content(folder: Path) -> dict[str, Any]:
    """What a run says of itself, but for where it lies."""
    config = json.loads((folder / "config.json").read_text())
    del config["place"]["out"]
    return config


def test_data_that_is_no_path() -> None:
    with pytest.raises(StillmotionError, match="data is a NoneType; pass the path of a folder or a list file"):
        stillmotion.train("linear_probe", data=None)  # type: ignore[arg-type]


def test_a_call_is_the_command(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    options = {
        "layers": 2,
        "lr": 2e-4,
        "init": "motion",
        "betas": [0.8, 0.9],
        "stride": 3,
        "group": "(source.)",
        "backbone": str(tiny_clip),
    }
    result = stillmotion.train("evl", data=folder_of_videos, out=str(tmp_path / "call"), **SMALL, **options)
    words = ["train", "evl", "--data", folder_of_videos, "--out", tmp_path / "command"]
    for key, value in {**SMALL, **options}.items():
        words += [f"--{key.replace('_', '-')}", *(value if isinstance(value, list) else [value])]
    main([str(w) for w in words])
    assert content(tmp_path / "call") == content(tmp_path / "command")
    one, other = (tmp_path / name / "predictions.jsonl" for name in ("call", "command"))
    assert one.read_bytes() == other.read_bytes()
    assert isinstance(result, stillmotion.Result) and isinstance(result.report, stillmotion.Report)
    assert stillmotion.load(result.folder.model).classes == ("left", "right")


def test_a_recipe_of_ones_own_and_the_name_of_the_folder(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = stillmotion.train(RECIPES["linear_probe"](), data=str(folder_of_videos), backbone=str(tiny_clip), **SMALL)
    assert result.folder.path == Path("runs/linear_probe") and result.folder.model.is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epohcs": 3}, "evl has no option 'epohcs'; did you mean 'epochs'?"),
        ({"tuned": "image"}, "evl has no option 'tuned'"),
        ({"published": ()}, "evl has no option 'published'"),
        ({"method": 1}, "evl has no option 'method'"),
        ({"epochs": "three"}, "epochs is 'three'; it must be int"),
        ({"epochs": 2.5}, "epochs is 2.5; it must be int"),
        ({"init": "zero"}, "init is 'zero'; it must be 'release' or 'identity' or 'motion'"),
        ({"group": 1}, "group is 1; it must be str or None"),
        ({"betas": 0.9}, "betas is 0.9; it must be a sequence of float"),
        ({"lr": -1}, "lr is -1; it must be above 0"),
        ({"val": 3}, "val is 3; it must be Path or None"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StillmotionError) as error:
        stillmotion.train("evl", data="nowhere", **options)
    assert message in str(error.value)


def test_recipes_that_are_not_there(tiny_clip: Path) -> None:
    with pytest.raises(StillmotionError, match="did you mean 'evl'"):
        stillmotion.train("evi", data="nowhere")
    with pytest.raises(DataError, match="no data at nowhere"):
        stillmotion.train("evl", data="nowhere", backbone=str(tiny_clip))


def test_the_choice_among_recipes_gives_the_run_of_the_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("stillmotion.api.auto", lambda *how: asked.append(how) or SimpleNamespace(result="the run"))
    assert stillmotion.train("auto", data="my_videos", folds=4, val="held_out", out="runs/x") == "the run"
    (options, data, place, _) = asked[0]
    assert (options.folds, data.data, data.val, place.out) == (4, *map(Path, ("my_videos", "held_out", "runs/x")))
    with pytest.raises(StillmotionError, match="auto has no option 'layers'"):
        stillmotion.train("auto", data="my_videos", layers=2)


def test_a_stopped_run_is_a_keyboard_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stopped("after step 3")

    monkeypatch.setattr("stillmotion.experiment.fit", stop)
    with pytest.raises(KeyboardInterrupt, match="after step 3"):
        stillmotion.train("evl", data="nowhere")


def test_an_evaluation_is_that_of_the_command(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "run", {"backbone": str(tiny_clip), "warmup": 0.0}
    result = stillmotion.train("vificlip", data=folder_of_videos, out=out, **SMALL, **options)
    words = ["eval", result.folder.model, "--data", folder_of_videos, "--out", tmp_path / "e", "--device", "cpu"]
    main([str(w) for w in [*words, "--views", 2, "--crops", 3]])
    expected = json.loads((tmp_path / "e" / "eval.json").read_text())
    classifier = stillmotion.load(result.folder.model, device="cpu")
    before = classifier.sampling
    for model in (result.folder.model, str(result.folder.model), classifier):
        report = stillmotion.evaluate(model, data=str(folder_of_videos), views=2, crops=3, batch=5)
        assert (report.top1, report.mean_class, report.scored) == (expected["top1"], expected["mean_class"], 12)
        assert [list(row) for row in report.confusion] == expected["confusion"]
    assert classifier.sampling == before, "the classifier is as it was"


def test_every_video_is_scored_once_or_named(tmp_path: Path) -> None:
    for label in ("left", "right", "up"):
        write_video(tmp_path / label / "a.mp4", frames=5, seed=len(label))
    (tmp_path / "left" / "bad.mp4").write_text("no video")
    classifier = of_method("zero_shot")
    with pytest.raises(DataError, match=r"1 of 4 videos cannot be read, more than --max-bad 0\.01 allows"):
        stillmotion.evaluate(classifier, data=tmp_path)
    report = stillmotion.evaluate(classifier, data=tmp_path, max_bad=0.5)
    assert (report.videos, report.scored, [Path(b["path"]).name for b in report.bad]) == (4, 3, ["bad.mp4"])
    for path in tmp_path.rglob("*.mp4"):
        path.write_text("no video")
    with pytest.raises(DataError, match="none of the 4 videos could be read"):
        stillmotion.evaluate(classifier, data=tmp_path, max_bad=1)


def test_a_model_without_classes_reads_those_of_the_data(folder_of_videos: Path) -> None:
    classifier = of_method("zero_shot").with_classes(["x"])
    classifier.vocabulary = type(classifier.vocabulary)(())
    assert stillmotion.evaluate(classifier, data=folder_of_videos).classes == ("left", "right")
    assert classifier.classes == ()


def test_a_release_as_a_classifier(tmp_path: Path, video: Path) -> None:
    """What `convert` writes and `load` reads, at once."""
    from safetensors.torch import save_file

    clip = clip_state(22)
    save_file(clip, tmp_path / "clip.safetensors")
    torch.save({"model": test_vificlip.as_release(clip)}, tmp_path / "official.pth")
    words = ["convert", tmp_path / "official.pth", "--method", "vificlip", "-o", tmp_path / "ours.safetensors"]
    main([str(w) for w in [*words, "--clip", tmp_path / "clip.safetensors"]])
    names, where = ("surfing", "a dog"), str(tmp_path / "clip.safetensors")
    direct = stillmotion.load_official("vificlip", tmp_path / "official.pth", clip=where, classes=names, device="cpu")
    converted = stillmotion.load(tmp_path / "ours.safetensors", device="cpu")
    converted.classes = names
    assert (direct.sampling, direct.preprocess) == (converted.sampling, converted.preprocess)
    assert direct.num_frames == converted.num_frames and direct(video).scores == converted(video).scores
    unnamed = stillmotion.load_official("vificlip", tmp_path / "official.pth", clip=where, device="cpu")
    assert unnamed.classes == () and unnamed.embed(video).shape == (unnamed.model.text.text_projection.shape[1],)
    with pytest.raises(stillmotion.StillmotionError, match="LinearProbe has no official checkpoints"):
        stillmotion.load_official("linear_probe", "x.pth")
    with pytest.raises(stillmotion.StillmotionError, match="did you mean 'ViT-B-16'"):
        stillmotion.load_official("vificlip", tmp_path / "official.pth", clip="ViT-B-61:openai")


OUTSIDE = """
from pathlib import Path
from typing import assert_type

import numpy as np
import stillmotion
import torch

classifier = stillmotion.load("model.safetensors", device="cpu")
assert_type(classifier, stillmotion.Classifier)
assert_type(classifier("surf.mp4"), stillmotion.Prediction)
assert_type(classifier(np.zeros((8, 32, 32, 3), np.uint8)).scores, dict[str, float])
assert_type(classifier(b"").label, str)
assert_type(classifier.embed(Path("surf.mp4")), torch.Tensor)
for outcome in classifier.predict([Path("surf.mp4"), "ski.mp4"], batch=8, workers=2):
    assert_type(outcome.value, stillmotion.Prediction | None)
    assert_type(outcome.get().top(2), list[tuple[str, float]])
for found in classifier.embeddings(stillmotion.open_video(name) for name in ("surf.mp4",)):
    assert_type(found.get(), torch.Tensor)
assert_type(stillmotion.train("evl", data="my_videos", epochs=3).report, stillmotion.Report)
assert_type(stillmotion.evaluate(classifier, data="my_videos").top1, float)
assert_type(stillmotion.load_official("evl", "k400.pth", classes=["a"]), stillmotion.Classifier)
classifier({"a": 1})  # WRONG
stillmotion.evaluate(classifier, "my_videos")  # WRONG
stillmotion.lode("x")  # WRONG
"""


@pytest.mark.slow
def test_types_are_seen_from_outside(tmp_path: Path) -> None:
    """mypy, told nothing of this project, passes what is right and finds what is wrong."""
    pytest.importorskip("mypy")
    (tmp_path / "outside.py").write_text(OUTSIDE)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n[mypy-numpy.*]\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "outside.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = [int(line.split(":")[1]) for line in done.stdout.splitlines() if line.startswith("outside.py:")]
    wrong = [i for i, line in enumerate(OUTSIDE.splitlines(), 1) if line.endswith("# WRONG")]
    assert sorted(set(found)) == wrong, done.stdout + done.stderr
