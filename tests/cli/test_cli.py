"""The command line as a user meets it: fast help, one line and exit code 2 for every mistake, results on disk."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillmotion.cli import COMMANDS, main
from tests.videos import write_video


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run a command in this process; returns exit code, standard output and standard error."""
    capsys.readouterr()
    code = 0
    try:
        main([str(w) for w in words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_is_fast_and_imports_no_pytorch() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); from stillmotion.cli import main; main(['--help']); "
        "assert 'torch' not in sys.modules; print(time.perf_counter() - t)"
    )
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert all(name in done.stdout for name in COMMANDS)
    assert float(done.stdout.splitlines()[-1]) < 0.5
    assert min(seconds) < 1.0


def test_the_commands_are_these() -> None:
    """A new command is a decision, not an accident."""
    assert list(COMMANDS) == [
        "train", "predict", "eval", "ensemble", "encode", "convert", "count", "list", "demo",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--help"],
        ["train", "evl", "--help"],
        ["predict", "--help"],
        ["eval", "--help"],
        ["ensemble", "--help"],
        ["demo", "--help"],
        ["encode", "--help"],
        ["count", "--help"],
        ["count", "evl", "--help"],
    ],
)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "usage: stillmotion" in out


def test_list_prints_methods_recipes_and_weights(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    for word in ("evl_k400_b16_8f", "Kinetics-400 82.9 top-1 (3x1 views)", "vificlip", "ViT-B-16:openai-int8"):
        assert word in out


@pytest.fixture(scope="module")
def model(folder_of_videos: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `stillmotion train evl` writes."""
    out = tmp_path_factory.mktemp("cli") / "run"
    main(
        [
            "train",
            "evl",
            "--data",
            str(folder_of_videos),
            "--backbone",
            str(tiny_clip),
            "--out",
            str(out),
            "--epochs",
            "1",
            "--num-frames",
            "4",
            "--layers",
            "2",
            "--cache",
            str(out.parent / "cache"),
            "--device",
            "cpu",
        ]
    )
    return out / "model.safetensors"


def test_train_predict_and_eval(
    capsys: pytest.CaptureFixture[str], model: Path, video: Path, folder_of_videos: Path, tmp_path: Path
) -> None:
    code, out, _ = run(capsys, "predict", model, video, "--top", 2)
    assert code == 0
    assert sorted(line.split("%")[1].strip() for line in out.splitlines()) == ["left", "right"]
    assert sum(float(line.split("%")[0]) for line in out.splitlines()) == pytest.approx(100, abs=0.02)
    code, out, _ = run(capsys, "predict", model, video, video, "--json")
    assert [json.loads(line)["path"] for line in out.splitlines()] == [str(video)] * 2
    code, out, _ = run(capsys, "eval", model, "--data", folder_of_videos, "--out", tmp_path)
    assert code == 0
    assert "on 12 videos" in out
    saved = json.loads((tmp_path / "eval.json").read_text())
    assert (saved["scored"], saved["videos"]) == (12, 12)
    config = json.loads((model.parent / "config.json").read_text())
    assert config["recipe"]["method"]["name"] == "evl"
    assert config["recipe"]["train"]["seed"] == 0


def test_open_vocabulary_by_command(
    capsys: pytest.CaptureFixture[str], tiny_clip: Path, video: Path, folder_of_videos: Path, tmp_path: Path
) -> None:
    labels = "surfing, skiing, a dog catching a frisbee"
    code, out, _ = run(capsys, "predict", "vificlip", video, "--labels", labels, "--clip", tiny_clip)
    assert code == 0
    assert {line.split("%")[1].strip() for line in out.splitlines()} == {
        "surfing",
        "skiing",
        "a dog catching a frisbee",
    }
    many = ", ".join(f"playing the instrument number {i}" for i in range(20))
    assert len(many) > 255, "longer than a file's name may be"
    code, out, _ = run(capsys, "predict", "zero_shot", video, "--labels", many, "--clip", tiny_clip)
    assert code == 0
    assert "playing the instrument number" in out
    (tmp_path / "names.csv").write_text('id,name\n0,"to run, fast"\n1,to jump\n')
    code, out, _ = run(capsys, "predict", "zero_shot", video, "--labels", tmp_path / "names.csv", "--clip", tiny_clip)
    assert "to run, fast" in out
    code, out, _ = run(capsys, "eval", "zero_shot", "--data", folder_of_videos, "--clip", tiny_clip, "--out", tmp_path)
    assert code == 0
    assert "on 12 videos" in out


def test_encode_fills_the_cache_that_train_reads(
    capsys: pytest.CaptureFixture[str], tiny_clip: Path, folder_of_videos: Path, tmp_path: Path
) -> None:
    shared = [
        "--data",
        folder_of_videos,
        "--backbone",
        tiny_clip,
        "--num-frames",
        4,
        "--layers",
        2,
        "--cache",
        tmp_path / "c",
        "--out",
        tmp_path / "r",
    ]
    code, out, err = run(capsys, "encode", "evl", *shared)
    assert (code, out) == (0, "12 videos are encoded\n")
    assert "encoding 12 views" in err
    code, _, err = run(capsys, "train", "evl", *shared, "--epochs", 1)
    assert code == 0
    assert "all 12 views are in the feature cache" in err
    code, _, err = run(capsys, "encode", "vificlip", *shared[:4])
    assert code == 2
    assert "trains CLIP itself" in err


def bad_calls(folder: Path, clip: Path, model: Path, video: Path, tmp: Path) -> dict[str, tuple[list[object], str]]:
    """Mistakes of a user: the call, and what the one line must say."""
    base = ["train", "evl", "--data", folder, "--backbone", clip, "--out", tmp / "r"]
    (tmp / "text.mp4").write_text("no video")
    (tmp / "empty.mp4").write_bytes(b"")
    (tmp / "list.txt").write_text(f"{video}\n")
    (tmp / "unknown.txt").write_text(f"{video} 0\n{video} wafe\n")
    (tmp / "map.csv").write_text("0,run\n1,wave\n")
    return {
        "unknown command": (["trian"], "there is no command 'trian'; did you mean 'train'?"),
        "unknown method": (
            ["train", "evi", "--data", folder],
            "there is no method or recipe 'evi'; did you mean 'evl'?",
        ),
        "unknown option": ([*base, "--epohcs", 3], "unknown option --epohcs, 3; did you mean '--epochs'?"),
        "bad number": ([*base, "--epochs", "many"], "invalid literal for int() with base 10: 'many'"),
        "bad choice": ([*base, "--init", "zero"], "invalid choice 'zero' for argument '--init'"),
        "missing option": (["train", "evl"], "--data"),
        "impossible value": ([*base, "--lr", "-1"], "lr is -1.0; it must be above 0"),
        "option before recipe": (["train", "--data", folder], "name a recipe before the options"),
        "no data": (["train", "evl", "--data", tmp / "nowhere"], "no data at"),
        "no label": (["train", "evl", "--data", tmp / "list.txt", "--backbone", clip], "list.txt:1 has no label"),
        "unknown label": (
            ["train", "evl", "--data", tmp / "unknown.txt", "--labels", tmp / "map.csv", "--backbone", clip],
            "unknown label 'wafe'; did you mean 'wave'?",
        ),
        "no weights": (["train", "evl", "--data", folder, "--backbone", "ViT-B-61:openai"], "did you mean 'ViT-B-16'?"),
        "too many taps": ([*base, "--layers", 9], "tap -9 is outside a tower of 3 blocks"),
        "no model": (["predict", tmp / "none.safetensors", video], "no model file"),
        "foreign model": (["predict", clip, video], "was not written by stillmotion"),
        "no video": (["predict", model, tmp / "none.mp4"], "no video"),
        "text as video": (["predict", model, tmp / "text.mp4"], "cannot be read as a video"),
        "empty video": (["predict", model, tmp / "empty.mp4"], "is empty (0 bytes)"),
        "folder as video": (["predict", model, tmp], "is a folder, not a video"),
        "no names": (["predict", "zero_shot", video, "--clip", clip], 'pass --labels "surfing, skiing, ..."'),
        "empty names": (["predict", "zero_shot", video, "--clip", clip, "--labels", " , "], "--labels is empty"),
        "untrained": (["predict", "evl", video, "--labels", "a,b"], "evl must be trained before it can classify"),
        "closed set": (["predict", model, video, "--labels", "a,b"], "was trained for its 2 classes only"),
        "no top": (["predict", model, video, "--top", 0], "--top is 0; it must be at least 1"),
        "words after list": (["list", "models"], "stillmotion list takes no 'models'"),
        "unwritable": ([*base[:-1], tmp / "map.csv" / "run"], "cannot write"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "unknown command",
        "unknown method",
        "unknown option",
        "bad number",
        "bad choice",
        "missing option",
        "impossible value",
        "option before recipe",
        "no data",
        "no label",
        "unknown label",
        "no weights",
        "too many taps",
        "no model",
        "foreign model",
        "no video",
        "text as video",
        "empty video",
        "folder as video",
        "no names",
        "empty names",
        "untrained",
        "closed set",
        "no top",
        "words after list",
        "unwritable",
    ],
)
def test_every_mistake_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
    kind: str,
    folder_of_videos: Path,
    tiny_clip: Path,
    model: Path,
    video: Path,
    tmp_path: Path,
) -> None:
    calls = bad_calls(folder_of_videos, tiny_clip, model, video, tmp_path)
    words, message = calls[kind]
    before = set(tmp_path.rglob("*"))
    code, _, err = run(capsys, *words)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert len(errors) == 1, err
    assert message in errors[0]
    assert "Traceback" not in err
    left = {p.name for p in tmp_path.rglob("*") if p not in before and p.is_file()}
    assert left <= {"config.json"}, f"left behind {left}"


def test_several_videos_and_a_bad_one(
    capsys: pytest.CaptureFixture[str], model: Path, video: Path, tmp_path: Path
) -> None:
    code, out, err = run(capsys, "predict", model, tmp_path / "none.mp4", video, "--json")
    assert code == 2
    assert json.loads(out)["path"] == str(video), "the others are classified first"
    assert err.startswith("error: no video")


def test_evaluation_skips_lists_and_counts(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    for label in ("left", "right"):
        for i in range(3):
            write_video(tmp_path / "v" / label / f"{i}.mp4", frames=5, seed=i + 5 * (label == "left"))
    (tmp_path / "v" / "left" / "bad.mp4").write_text("no video")
    code, _, err = run(capsys, "eval", model, "--data", tmp_path / "v", "--out", tmp_path / "out")
    assert code == 2
    assert "1 of 7 videos cannot be read, more than --max-bad 0.01 allows" in err
    code, out, _ = run(capsys, "eval", model, "--data", tmp_path / "v", "--out", tmp_path / "out", "--max-bad", 0.2)
    assert code == 0
    assert "on 6 videos, 1 of 7 videos could not be read" in out
    assert json.loads((tmp_path / "out" / "eval.json").read_text())["bad"][0]["path"].endswith("bad.mp4")


def test_recipes_of_ones_own(
    capsys: pytest.CaptureFixture[str],
    folder_of_videos: Path,
    tiny_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "my_lab.py").write_text(
        "from dataclasses import replace\nfrom stillmotion.recipes.linear_probe import linear_probe\n"
        "def two_frames():\n    return replace(linear_probe(), method=replace(linear_probe().method, num_frames=2))\n"
        "def of_a_path(data):\n    return linear_probe()\ndef nothing():\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["--data", folder_of_videos, "--backbone", tiny_clip, "--out", tmp_path / "r", "--epochs", 1]
    code, _out, _ = run(capsys, "train", "my_lab:two_frames", *words)
    assert code == 0
    assert json.loads((tmp_path / "r" / "config.json").read_text())["recipe"]["method"]["num_frames"] == 2
    code, _, err = run(capsys, "train", "my_lab:none", *words)
    assert "cannot import recipe 'my_lab:none'" in err
    code, _, err = run(capsys, "train", "my_lab:of_a_path", *words)
    assert (code, err) == (2, "error: recipe 'my_lab:of_a_path' must be a function without arguments "
                              "(missing a required argument: 'data')\n")  # fmt: skip
    code, _, err = run(capsys, "train", "my_lab:nothing", *words)
    assert (code, err) == (2, "error: recipe 'my_lab:nothing' returns a NoneType; return a Recipe\n")


def test_interrupting_says_how_to_go_on(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle of training: exit code 130, one line, and the next call finishes."""
    words = [
        "train",
        "evl",
        "--data",
        folder_of_videos,
        "--backbone",
        tiny_clip,
        "--out",
        tmp_path / "r",
        "--epochs",
        "400",
        "--num-frames",
        "4",
        "--layers",
        "2",
        "--device",
        "cpu",
        "--eval-every",
        "0",
    ]
    command = [sys.executable, "-m", "stillmotion", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    metrics = tmp_path / "r" / "metrics.jsonl"
    for _ in range(1200):
        if metrics.is_file() and metrics.stat().st_size:
            break
        time.sleep(0.05)
    process.send_signal(2)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run again to go on" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert (tmp_path / "r" / "state.pt").is_file()
