"""The command line as a user meets it: fast help, one line and exit code 2 for every mistake, results on disk."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillmotion.cli import COMMANDS, main
from stillmotion.files import sha256
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


def test_help_imports_no_pytorch() -> None:
    code = (
        "import sys; from stillmotion.cli import main; main(['--help']); "
        "assert not {'torch', 'numpy', 'tyro'} & set(sys.modules), 'help is to be fast'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)


def test_the_commands_are_these() -> None:
    """A new command is a decision, not an accident."""
    assert list(COMMANDS) == [
        "train", "sweep", "bench", "predict", "embed", "explain", "eval", "report", "compare", "ensemble", "encode",
        "cache", "convert", "count", "data", "results", "list", "pretrain-tiny", "demo",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--help"],
        ["train", "evl", "--help"],
        ["predict", "--help"],
        ["embed", "--help"],
        ["eval", "--help"],
        ["report", "--help"],
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
    code, out, _ = run(capsys, "eval", model, "--data", folder_of_videos, "-o", tmp_path)
    assert code == 0
    assert "on 12 videos" in out
    saved = json.loads((tmp_path / "eval.json").read_text())
    assert (saved["scored"], saved["videos"]) == (12, 12)
    assert saved["top1_interval"][0] <= saved["top1"] <= saved["top1_interval"][1]
    card = saved["card"]
    assert card["videos"] == {"total": 12, "scored": 12, "skipped": []}
    assert set(card["weights"]) == {"model", "tensors"}
    trained = json.loads((model.parent / "results.json").read_text())["card"]
    assert trained["weights"]["model"] == card["weights"]["model"] == sha256(model)
    assert "backbone.visual" in trained["weights"]
    assert set(trained["manifests"]) == {"train", "test"}
    assert trained["seeds"]["train"] == trained["switches"]["recipe"]["train"]["seed"]
    assert [sum(saved["support"]), len(saved["precision"]), len(saved["recall"])] == [12, 2, 2]
    assert out.splitlines()[-1] == str(tmp_path / "eval_report.html")
    page = (tmp_path / "eval_report.html").read_text(encoding="utf-8")
    assert f"{round(12 * saved['top1'])} of 12 videos right" in page
    assert "show attention" in page or saved["top1"] == 1
    assert "<dt>method</dt><dd>evl (" in page and "<dt>backbone</dt>" in page, "of the model's own card"
    assert (saved["config"]["split"], saved["config"]["report"]) == (None, True)
    assert json.loads((tmp_path / "eval_origin.json").read_text())["machine"]["cores"] >= 1
    code, out, _ = run(capsys, "eval", model, "--data", folder_of_videos, "--out", tmp_path / "bare", "--no-report")
    assert not (tmp_path / "bare" / "eval_report.html").exists()
    config = json.loads((model.parent / "config.json").read_text())
    assert config["recipe"]["method"]["name"] == "evl"
    assert config["recipe"]["train"]["seed"] == 0


def test_open_vocabulary_by_command(
    capsys: pytest.CaptureFixture[str], tiny_clip: Path, video: Path, folder_of_videos: Path, tmp_path: Path
) -> None:
    labels = "surfing, skiing, a dog catching a frisbee"
    code, out, _ = run(capsys, "predict", "vificlip", video, "--labels", labels, "--backbone", tiny_clip)
    assert code == 0
    assert {line.split("%")[1].strip() for line in out.splitlines()} == {
        "surfing",
        "skiing",
        "a dog catching a frisbee",
    }
    many = ", ".join(f"playing the instrument number {i}" for i in range(20))
    assert len(many) > 255, "longer than a file's name may be"
    code, out, _ = run(capsys, "predict", "zero_shot", video, "--labels", many, "--backbone", tiny_clip)
    assert code == 0
    assert "playing the instrument number" in out
    (tmp_path / "names.csv").write_text('id,name\n0,"to run, fast"\n1,to jump\n')
    code, out, _ = run(
        capsys, "predict", "zero_shot", video, "--labels", tmp_path / "names.csv", "--backbone", tiny_clip
    )
    assert "to run, fast" in out
    code, out, _ = run(
        capsys, "eval", "zero_shot", "--data", folder_of_videos, "--backbone", tiny_clip, "--out", tmp_path
    )
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
    (tmp / "none").mkdir()
    (tmp / "list.txt").write_text(f"{video}\n")
    (tmp / "unknown.txt").write_text(f"{video} 0\n{video} wafe\n")
    (tmp / "map.csv").write_text("0,run\n1,wave\n")
    return {
        "unknown command": (["trian"], "there is no command 'trian'; did you mean 'train'?"),
        "unknown method": (
            ["train", "evi", "--data", folder],
            "there is no method or recipe 'evi'; did you mean 'evl'?",
        ),
        "unknown option": ([*base, "--epohcs", 3], "unknown option --epohcs; did you mean '--epochs'?"),
        "bad number": ([*base, "--epochs", "many"], "--epochs is 'many'; it must be a whole number"),
        "bad rate": ([*base, "--lr", "fast"], "--lr is 'fast'; it must be a number"),
        "no value": (["sweep", *base[1:], "--lr"], "--lr has no value; write one behind it"),
        "a value too many": ([*base, "--order-test", "yes"], "'yes' is one word too many behind --order-test"),
        "value twice": (["sweep", *base[1:], "--lr", "1e-3", "1e-3"], "lr 1e-3 and lr 1e-3 are one setting; give"),
        "bad pattern": ([*base, "--group", r"(\w+"], r"--group (\w+ is not a regular expression"),
        "no predictions": (["ensemble", video, tmp / "list.txt"], "holds no predictions; name a run's folder"),
        "video as release": (["convert", video, "--method", "xclip", "-o", tmp / "x.safetensors"], "not a checkpoint"),
        "bad choice": ([*base, "--init", "zero"], "--init has no choice 'zero'; choose from identity, motion, release"),
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
        "too many taps": ([*base, "--layers", 9], "block -9 is outside a tower of 3 blocks"),
        "no model": (["predict", tmp / "none.safetensors", video], "no model file"),
        "foreign model": (["predict", clip, video], "was not written by stillmotion"),
        "no video": (["predict", model, tmp / "none.mp4"], "no video"),
        "text as video": (["predict", model, tmp / "text.mp4"], "cannot be read as a video"),
        "empty video": (["predict", model, tmp / "empty.mp4"], "is empty (0 bytes)"),
        "folder without videos": (["predict", model, tmp / "none"], "none has no videos in it; names of videos end in"),
        "no names": (["predict", "zero_shot", video, "--backbone", clip], 'pass --labels "surfing, skiing, ..."'),
        "no labels file": (
            ["predict", "zero_shot", video, "--backbone", clip, "--labels", "none.txt"],
            "no labels file none.txt; mend",
        ),
        "empty names": (["predict", "zero_shot", video, "--backbone", clip, "--labels", " , "], "--labels is empty"),
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
        "bad rate",
        "no value",
        "a value too many",
        "value twice",
        "bad pattern",
        "no predictions",
        "video as release",
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
        "folder without videos",
        "no names",
        "no labels file",
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


def test_several_videos_and_bad_ones(
    capsys: pytest.CaptureFixture[str], model: Path, video: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.mp4").touch()
    words = ["predict", model, tmp_path / "none.mp4", video, tmp_path / "empty.mp4"]
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out.splitlines()[0] == str(video) and len(out.splitlines()) == 3, "the good one is classified"
    first, second, last = err.splitlines()
    assert "none.mp4" in first and "empty.mp4 is empty" in second, "all bad ones are named"
    assert last == "error: 2 of 3 videos failed, named above"
    code, out, err = run(capsys, *words, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert [line["path"] for line in lines] == [str(p) for p in (tmp_path / "none.mp4", video, tmp_path / "empty.mp4")]
    assert ["error" in line for line in lines] == [True, False, True]
    code, out, err = run(capsys, "predict", model, tmp_path / "empty.mp4")
    assert (code, out) == (2, "") and err.startswith("error: ") and "is empty" in err


def test_escape_codes_are_not_sent_to_the_terminal(
    capsys: pytest.CaptureFixture[str], tiny_clip: Path, video: Path, tmp_path: Path
) -> None:
    (tmp_path / "names.csv").write_text("0,\x1b[31mred\n1,bell\x07\n")
    words = ["predict", "zero_shot", video, "--backbone", tiny_clip, "--labels", tmp_path / "names.csv"]
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "\x1b" not in out and "\x07" not in out and "\\x1b[31mred" in out and "bell\\x07" in out
    code, _, err = run(capsys, "predict", tmp_path / "\x1b[2J.safetensors", video)
    assert code == 2 and "\x1b" not in err
    code, _, err = run(capsys, "predict", tmp_path / "\udcff.safetensors", video)
    assert code == 2 and len(err.splitlines()) == 1


def test_a_very_long_word_is_not_repeated_whole(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "train", "x" * 10**5, "--data", "x")
    assert code == 2 and err.startswith("error: there is no method or recipe 'xxx") and "choose from" in err
    assert len(err.splitlines()) == 1 and len(err) < 5000


def test_a_trained_model_cleans_names_for_its_prompts_alone(
    capsys: pytest.CaptureFixture[str], tiny_clip: Path, model: Path, tmp_path: Path
) -> None:
    """ViFi-CLIP's protocol: trained on some classes, tested on others, whose raw names label the data."""
    names = ("ApplyEyeMakeup", "YoYo")
    for name in names:
        for i in range(3):
            write_video(tmp_path / "v" / name / f"{i}.mp4", frames=5, seed=i + 5 * (name == "YoYo"))
    trained = ["train", "vificlip", "--data", tmp_path / "v", "--backbone", tiny_clip, "--out", tmp_path / "r"]
    main([str(w) for w in [*trained, "--epochs", 6, "--num-frames", 2, "--device", "cpu"]])
    words = ["eval", tmp_path / "r" / "model.safetensors", "--data", tmp_path / "v", "--device", "cpu"]
    (tmp_path / "map.csv").write_text("0,YoYo\n1,ApplyEyeMakeup\n")
    results = {}
    for kind, more in {
        "raw": [],
        "clean": ["--clean-names"],
        "map": ["--clean-names", "--labels", tmp_path / "map.csv"],
    }.items():
        code, _, err = run(capsys, *words, "--out", tmp_path / kind, *more)
        assert code == 0, err
        lines = [json.loads(x) for x in (tmp_path / kind / "eval_predictions.jsonl").read_text().splitlines()]
        results[kind] = (lines[0]["classes"], {x["path"]: x["probabilities"] for x in lines})
    assert results["raw"][0] == results["clean"][0] == [*names], "labels stay raw"
    assert results["map"][0] == [*names[::-1]]
    assert results["raw"][1] != results["clean"][1]
    for path, p in results["clean"][1].items():
        assert results["map"][1][path][::-1] == pytest.approx(p, abs=1e-6)
    code, _, err = run(capsys, "eval", model, "--data", tmp_path / "v", "--clean-names")
    assert code == 2 and "trained for its 2 classes only" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    for words in (["--help"], ["list"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run([sys.executable, "-m", "stillmotion", *words], stdout=full, stderr=-1, text=True)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert done.stderr.startswith("error: ") and "No space left" in done.stderr


@pytest.mark.parametrize("inside", [True, False])
def test_ctrl_c_is_one_line_also_inside_a_mode_of_pytorch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    """`with torch.device(...)` raises another error when it is left half entered."""

    def stop(_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            if inside:
                raise RuntimeError("trying to pop from empty mode stack")

    monkeypatch.setattr("stillmotion.cli.catalog.run", stop)
    assert run(capsys, "list") == (130, "", "stopped\n")


def test_a_closed_pipe_is_silent() -> None:
    command = f"{sys.executable} -m stillmotion list | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(words: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("stillmotion.cli.catalog.run", bug)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["list"])


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
    for name, message in {
        "my_lab:none": "cannot import recipe 'my_lab:none'",
        ":two_frames": "cannot import recipe ':two_frames'",
        "my_lab:of_a_path": "cannot import recipe 'my_lab:of_a_path' (missing a required argument: 'data')",
        "my_lab:nothing": "recipe 'my_lab:nothing' returns a NoneType; return a Recipe",
        "os:system": "cannot import recipe 'os:system'",
        "os:getcwd": "recipe 'os:getcwd' returns a NoneType",
    }.items():
        code, _, err = run(capsys, "train", name, *words)
        assert code == 2 and message in err and len(err.splitlines()) == 1


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
