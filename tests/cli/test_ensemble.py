"""From other libraries' models and ours to one table: eval, ensemble, and what they refuse, as a user meets it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from stillmotion.cli import main
from tests.cli.test_cli import run
from tests.videos import write_video

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of clips, to score and to choose weights on."""
    root = tmp_path_factory.mktemp("videos")
    for part, start in (("test", 0), ("val", 10)):
        for label, direction in (("left", -1), ("right", 1)):
            for i in range(3):
                write_video(root / part / label / f"{i}.mp4", frames=10, seed=start + i, direction=direction)
    return root


@pytest.fixture(scope="module")
def timesformer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny TimeSformer that has the data's classes and one more, in another order."""
    folder = tmp_path_factory.mktemp("models") / "timesformer"
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    names = dict(enumerate(("Right", "up", "Left")))
    config = transformers.TimesformerConfig(image_size=32, patch_size=8, num_frames=4, id2label=names, **sizes)
    transformers.TimesformerForVideoClassification(config).save_pretrained(folder)
    settings = {"video_processor_type": "TimesformerVideoProcessor", "size": {"shortest_edge": 36}, "crop_size": 32}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(settings))
    return f"transformers:{folder}"


@pytest.fixture(scope="module")
def probe(videos: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ours whose validation clips are the `val` folder."""
    out = tmp_path_factory.mktemp("runs") / "probe"
    data = [
        "--data",
        videos / "test",
        "--val",
        videos / "val",
        "--backbone",
        tiny_clip,
        "--cache",
        out.parent / "cache",
    ]
    words = ["train", "linear_probe", *data, "--out", out, "--epochs", 1, "--num-frames", 2, "--device", "cpu"]
    main([str(w) for w in words])
    return out


@pytest.fixture(scope="module")
def files(videos: Path, timesformer: str, probe: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What eval writes for either model on either folder."""
    root = tmp_path_factory.mktemp("evals")
    for part in ("test", "val"):
        for name, model in (("ours", str(probe / "model.safetensors")), ("theirs", timesformer)):
            main(["eval", model, "--data", str(videos / part), "--out", str(root / part / name), "--device", "cpu"])
    return {f"{p}_{n}": root / p / n / "eval_predictions.jsonl" for p in ("test", "val") for n in ("ours", "theirs")}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_eval_of_another_librarys_model(
    capsys: pytest.CaptureFixture[str], timesformer: str, videos: Path, tmp_path: Path
) -> None:
    code, out, err = run(capsys, "eval", timesformer, "--data", videos / "test", "--out", tmp_path, "--crops", 3)
    assert code == 0, err
    assert "on 6 videos" in out
    assert "the logits of 2 of its 3 classes, matched with the data's by name" in err
    scored = rows(tmp_path / "eval_predictions.jsonl")
    assert scored[0]["classes"] == ["left", "right"]
    code, out, _ = run(capsys, "predict", timesformer, scored[0]["path"], "--json", "--labels", "left,right")
    assert code == 0
    assert json.loads(out)["scores"].keys() == {"left", "right"}
    code, out, _ = run(capsys, "predict", timesformer, scored[0]["path"], "--json", "--stride", 2)
    assert json.loads(out)["scores"].keys() == {"Left", "Right", "up"}


def test_predictions_of_eval_are_those_of_the_model(files: dict[str, Path], timesformer: str) -> None:
    from stillmotion.libraries.classifier import load_foreign

    classifier = load_foreign(timesformer, ["left", "right"], device="cpu")
    for row in rows(files["test_theirs"]):
        expected = classifier(row["path"]).scores
        assert row["probabilities"] == pytest.approx([expected["left"], expected["right"]], abs=1e-6)


def test_torchvision_by_command(capsys: pytest.CaptureFixture[str], videos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.get_model("mc3_18", weights=None, num_classes=2).state_dict(), tmp_path / "m.pth")
    (tmp_path / "names.csv").write_text("id,name\n0,right\n1,left\n")
    (tmp_path / "clips.txt").write_text(f"{videos / 'test/left/0.mp4'} left\n{videos / 'test/right/0.mp4'} right\n")
    shared = ["eval", f"torchvision:mc3_18:{tmp_path / 'm.pth'}", "--data", tmp_path / "clips.txt", "--out", tmp_path]
    code, _, err = run(capsys, *shared)
    assert code == 2
    assert "has 2 logits and 0 class names; pass --labels" in err
    code, out, _ = run(capsys, *shared, "--labels", tmp_path / "names.csv", "--stride", 1)
    assert code == 0
    assert "on 2 videos" in out
    assert rows(tmp_path / "eval_predictions.jsonl")[0]["classes"] == ["right", "left"]


def test_an_ensemble_of_ours_and_theirs(
    capsys: pytest.CaptureFixture[str], files: dict[str, Path], tmp_path: Path
) -> None:
    ours, theirs = files["test_ours"], files["test_theirs"]
    code, out, err = run(capsys, "ensemble", ours, theirs, "--weights", 1, 0.5, "--out", tmp_path)
    assert code == 0, err
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["weight", "0.667"], ["weight", "0.333"]]
    assert lines[2].startswith("ensemble")
    assert all("top-1" in line and "top-5" not in line and "mean class" in line for line in lines[:3])
    saved = json.loads((tmp_path / "ensemble.json").read_text())
    right = 0
    for a, b, mixed in zip(rows(ours), rows(theirs), rows(tmp_path / "ensemble_predictions.jsonl")):
        expected = [(2 * p + q) / 3 for p, q in zip(a["probabilities"], b["probabilities"])]
        assert mixed["probabilities"] == pytest.approx(expected, abs=1e-12)
        right += expected.index(max(expected)) == a["label"]
    assert saved["ensemble"]["top1"] == pytest.approx(right / 6)
    for member, file in zip(saved["members"], (ours, theirs)):
        alone = json.loads((file.parent / "eval.json").read_text())
        assert member["file"] == str(file)
        assert member["report"]["top1"] == pytest.approx(alone["top1"])
    code, out, _ = run(capsys, "ensemble", tmp_path, ours, "--out", tmp_path / "again")
    assert code == 0, "an ensemble's folder is a member like any other"


def test_weights_are_chosen_on_other_videos(
    capsys: pytest.CaptureFixture[str], files: dict[str, Path], probe: Path, tmp_path: Path
) -> None:
    members = ["ensemble", files["test_ours"], files["test_theirs"], "--out", tmp_path]
    code, _, err = run(capsys, *members, "--choose-on", probe, files["val_theirs"])
    assert code == 0, err
    assert "weights chosen on 6 other videos: top-1" in err
    saved = json.loads((tmp_path / "ensemble.json").read_text())
    assert saved["chosen_on"] == [str(probe / "predictions.jsonl"), str(files["val_theirs"])]
    assert sum(m["weight"] for m in saved["members"]) == pytest.approx(1)
    for validation, message in (
        ([files["test_ours"], files["val_theirs"]], "is scored itself; choose weights on other videos"),
        ([files["val_ours"]], "--choose-on has 1 files for 2 models"),
    ):
        code, _, err = run(capsys, *members, "--choose-on", *validation)
        assert code == 2
        assert message in err
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(files["test_ours"].read_bytes())
    code, _, err = run(capsys, *members, "--choose-on", copy, files["val_theirs"])
    assert code == 2
    assert "and among the scored videos (6 such)" in err


def test_what_could_not_be_read_is_said(
    capsys: pytest.CaptureFixture[str], files: dict[str, Path], tmp_path: Path
) -> None:
    kept = rows(files["test_theirs"])
    bad = {"path": kept[2]["path"], "reason": "it is empty"}
    kept[0]["bad"] = [bad]
    del kept[2]
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    code, out, err = run(capsys, "ensemble", files["test_ours"], tmp_path / "theirs.jsonl", "--out", tmp_path / "e")
    assert code == 0
    assert f"left out of all models, because one could not read them: {bad['path']}" in err
    assert out.count("on 5 videos, 1 of 6 videos could not be read") == 3
    assert json.loads((tmp_path / "e" / "ensemble.json").read_text())["ensemble"]["bad"] == [bad]


def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str],
    files: dict[str, Path],
    timesformer: str,
    videos: Path,
    probe: Path,
    tmp_path: Path,
) -> None:
    a, b = files["test_ours"], files["test_theirs"]
    (tmp_path / "v" / "sideways").mkdir(parents=True)
    (tmp_path / "v" / "sideways" / "0.mp4").write_bytes((videos / "test/left/0.mp4").read_bytes())
    data, model = ["--data", videos / "test"], probe / "model.safetensors"
    for words, message in (
        (["ensemble", a], "an ensemble of 1; name the predictions of two models or more"),
        (["ensemble", a, a], "is given twice"),
        (["ensemble", a, tmp_path / "none.jsonl"], "cannot read predictions from"),
        (["ensemble", a, files["val_theirs"]], "is scored in"),
        (["ensemble", a, b, "--weights", 1], "1 weights for 2 models; give one for each"),
        (["ensemble", a, b, "--weights", 1, 1, "--choose-on", a, b], "pass one of them"),
        (["ensemble", a, b, "--weight", 1], "unknown option"),
        (["eval", timesformer, "--data", tmp_path / "v"], "'sideways' (the nearest is '"),
        (["eval", timesformer, *data, "--backbone", "x"], "go with CLIP"),
        (["eval", timesformer, *data, "--stride", 0], "stride is 0; it must be at least 1"),
        (["eval", model, *data, "--stride", 2], "--stride goes with transformers: and torchvision: models"),
        (["predict", "torchvision:swin3d", videos / "test/left/0.mp4"], "did you mean 'swin3d_"),
    ):
        code, out, err = run(capsys, *words, "--out", tmp_path / "o") if words[0] != "predict" else run(capsys, *words)
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert code == 2, err
        assert out == ""
        assert len(errors) == 1, err
        assert message in errors[0], err
        assert not (tmp_path / "o").exists(), "nothing is left behind"
    code, _, err = run(capsys, "ensemble", a, b, "--out", a.parent)
    assert code == 0, "eval's file and an ensemble's have other names"
    (a.parent / "ensemble.json").unlink()
    code, _, err = run(capsys, "ensemble", a, a.parent / "ensemble_predictions.jsonl", "--out", a.parent)
    assert code == 2
    assert "holds one of the models; choose another --out" in err
    (a.parent / "ensemble_predictions.jsonl").unlink()
