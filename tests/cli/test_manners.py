"""What the command line says of common mistakes: the value, the rule, and what to type instead, each once."""

import json
from pathlib import Path

import pytest

import stillmotion
from stillmotion.cli import GO_ON, _stopped
from stillmotion.data.bad import BadVideo, BadVideos
from stillmotion.errors import DataError, VideoError
from tests.cli.test_cli import run
from tests.videos import write_video

MISSING = {
    "predict": (["predict"], "MODEL is missing; see stillmotion predict --help"),
    "eval": (["eval"], "MODEL and --data PATH are missing; see stillmotion eval --help"),
    "train": (["train", "evl"], "--data PATH is missing; see stillmotion train evl --help"),
    "near": (["train", "evl", "--dat", "x"], "--data PATH is missing; did you mean '--data' by '--dat'?"),
    "recipe": (["train"], "RECIPE is missing: stillmotion train evl --data VIDEOS; see stillmotion train --help"),
    "count": (["count"], "METHOD is missing: stillmotion count evl; see stillmotion count --help"),
    "list": (["list", "nope"], "takes no 'nope'; it takes one word or none: methods, recipes, weights"),
    "release": (["convert", "--method", "nope", "x", "-o", "y"], "no release of 'nope' is read; choose from a5, "),
    "warmup": (["train", "evl", "--data", "x", "--warmup", "5", "--epochs", "1"], "pass another --warmup"),
    "count size": (["count", "evl", "--image-size", "100"], "16-pixel patches; use 96 or 112"),
    "video as data": (["train", "linear_probe", "--backbone", "CLIP", "--data", "VIDEO"], "is a video; --data takes"),
    "video as model": (["predict", "VIDEO", "VIDEO"], "is a video, where a model belongs"),
    "pth as start": (["train", "linear_probe", "--data", "x", "--start-from", "PTH"], "stillmotion convert "),
    "size": (["train", "linear_probe", "--data", "x", "--backbone", "CLIP", "--image-size", "35"], "use 32 or 40"),
    "transformers": (["train", "evl", "--data", "x", "--backbone", "transformers:/nope"], "is no backbone"),
    "no folder": (["predict", "transformers:/nope", "VIDEO"], "there is no folder /nope; pass a local folder"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISSING)
def test_one_line_says_what_to_type(
    capsys: pytest.CaptureFixture[str], kind: str, tiny_clip: Path, video: Path, tmp_path: Path
) -> None:
    words, said = MISSING[kind]
    (tmp_path / "k400.pth").write_bytes(b"x")
    files = {"CLIP": tiny_clip, "VIDEO": video, "PTH": tmp_path / "k400.pth"}
    code, out, err = run(capsys, *(files.get(word, word) for word in words))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err and len(err) < 600


def test_only_what_can_be_a_model_is_proposed(capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path) -> None:
    for name in ("a.safetensors", "model.py", "models.txt"):
        (tmp_path / name).touch()
    assert "did you mean 'a.safetensors'" in run(capsys, "predict", tmp_path / "b.safetensors", video)[2]
    err = run(capsys, "train", "evl", "--data", "x", "--backbone", f"ViT-B-16:{tmp_path / 'model.pt'}")[2]
    assert "model.py" not in err and "models.txt" not in err


def test_stopped_is_said_once_and_going_on_only_where_it_does() -> None:
    assert _stopped(["train"], "stopped after step 3 of 6; run again to go on").count("stopped") == 1
    assert _stopped(["predict", "m", "v"]) == _stopped(["count"]) == "stopped"
    for words in ([name] for name in GO_ON):
        assert _stopped(words) == "stopped; the same command goes on from here"
    assert "goes on" in _stopped(["predict", "m", "v", "--out", "p.csv"])


def test_the_list_of_bad_videos_is_not_said_to_be_whole(tmp_path: Path) -> None:
    bad = BadVideos(tmp_path / "bad_videos.jsonl", 10, 0.0)
    with pytest.raises(DataError, match="those met so far are listed in"):
        bad.add(BadVideo("a.mp4", "it is empty"))


def test_no_frame_is_asked_for(video: Path) -> None:
    with pytest.raises(VideoError, match="no frame is asked for; name at least one, 0 to 49"):
        stillmotion.open_video(video).frames([])


def test_one_view_is_not_said_to_be_several(capsys: pytest.CaptureFixture[str]) -> None:
    assert "views" not in run(capsys, "count", "torchvision:r3d_18")[1]


def test_every_run_of_a_sweep_is_told_why_a_video_is_bad(
    capsys: pytest.CaptureFixture[str], tiny_clip: Path, tmp_path: Path
) -> None:
    for label in ("left", "right"):
        for i in range(4):
            write_video(tmp_path / "clips" / label / f"{i}.mp4", frames=8, seed=i + 10 * (label == "left"))
    (tmp_path / "clips" / "left" / "bad.mp4").write_bytes(b"no video")
    code, _, err = run(
        capsys, "sweep", "linear_probe", "--data", tmp_path / "clips", "--backbone", tiny_clip, "--num-frames", 2,
        "--epochs", 1, "--lr", "1e-3", "1e-2", "--max-bad", 0.5, "--device", "cpu", "--out", tmp_path / "s",
    )  # fmt: skip
    assert code == 0, err
    lists = [file.read_text() for file in sorted((tmp_path / "s").glob("*/bad_videos.jsonl"))]
    assert len(lists) == 2 and lists[0] == lists[1]
    assert "cannot be read as a video" in json.loads(lists[0].splitlines()[0])["reason"]


def test_a_probe_after_evl_is_free_and_what_is_encoded_anew_says_why(
    capsys: pytest.CaptureFixture[str], tiny_clip: Path, folder_of_videos: Path, tmp_path: Path
) -> None:
    words = ["--data", folder_of_videos, "--backbone", tiny_clip, "--num-frames", 2, "--cache", tmp_path / "cache"]
    run(capsys, "encode", "evl", *words, "--layers", 1)
    assert "all 12 views are in the feature cache" in run(capsys, "encode", "linear_probe", *words)[2]
    err = run(capsys, "encode", "evl", *words, "--layers", 2)[2]
    assert "12 of them anew: the cache holds them without out.1, affinity.1" in err
