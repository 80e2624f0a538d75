"""Many files by command: found, predicted and embedded past bad ones, written whole, gone on with."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from stillmotion.cli.results import Results
from stillmotion.data.find import find_videos
from stillmotion.errors import DataError
from stillmotion.open_vocabulary import from_backbone
from tests.cli.test_cli import run
from tests.videos import write_video

LABELS = "surfing, skiing, a dog catching a frisbee"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good videos and two bad ones, in folders, beside what is no video."""
    folder = tmp_path_factory.mktemp("clips")
    for i, name in enumerate(("a/1.mp4", "a/2.mp4", "b/deep/3.mkv", "b/[4].mp4", "five.avi", ".hidden/6.mp4")):
        write_video(folder / name, 6 + i, "mpeg4" if name.endswith("avi") else "libx264", seed=i)
    (folder / "a" / "bad.mp4").write_text("no video")
    (folder / "b" / "empty.webm").touch()
    (folder / "a" / "notes.txt").write_text("1.mp4\n")
    (folder / "b" / ".7.mp4").touch()
    return folder


def names(clips: Path, *words: str) -> list[str]:
    return [str(clips / word) for word in words]


ALL = ("a/1.mp4", "a/2.mp4", "a/bad.mp4", "b/[4].mp4", "b/deep/3.mkv", "b/empty.webm", "five.avi")


def test_words_stand_for_videos(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_videos([clips]) == names(clips, *ALL)
    assert find_videos([f"{clips}/a/*"]) == names(clips, *ALL[:3])
    assert find_videos([f"{clips}/**/*.mk?", f"{clips}/b/[4].mp4"]) == names(clips, "b/deep/3.mkv", "b/[4].mp4")
    assert find_videos(["none.mp4", "rtsp://cam/1?a=[b]", clips / "a/1.mp4"]) == [
        "none.mp4", "rtsp://cam/1?a=[b]", str(clips / "a/1.mp4"),
    ]  # fmt: skip
    monkeypatch.chdir(clips)
    assert find_videos(["a", "five.avi"]) == ["a/1.mp4", "a/2.mp4", "a/bad.mp4", "five.avi"]
    lists = {
        "paths.txt": "# mine\na b.mp4\n\nc.mp4\n",
        "labeled.txt": "a b.mp4 to surf\nc.mp4 2\n",
        "tabs.tsv": "a b.mp4\tto surf\nc.mp4\n",
        "table.csv": "label,path\nx,a b.mp4\n\ny,c.mp4\n",
        "lines.jsonl": '{"path": "a b.mp4"}\n\n{"path": "c.mp4", "label": "x"}\n',
    }
    for name, content in lists.items():
        (tmp_path / name).write_text(content)
        expected = ["a b.mp4 to", "c.mp4"] if name == "labeled.txt" else ["a b.mp4", "c.mp4"]
        assert find_videos([tmp_path / name]) == [str(tmp_path / path) for path in expected], name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "# nothing\n", "lists no videos; write one path per line"),
        ("a.csv", "file,label\nx,y\n", "has columns file, label; it needs 'path'"),
        ("a.jsonl", '{"path": "x"}\n[1]\n', r"a\.jsonl:2 is not an object with a 'path'"),
        ("a.jsonl", '{"path": 1}\n', r"a\.jsonl:1 is not an object with a 'path'"),
        ("a.txt", "a\0b.mp4\n", "no file can be named"),
    ],
)
def test_lists_that_name_no_videos(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        find_videos([tmp_path / name])


def test_folders_and_globs_without_videos(tmp_path: Path) -> None:
    for word, message in ((str(tmp_path), "has no videos in it"), (f"{tmp_path}/*.mp4", "no video matches .*mp4")):
        with pytest.raises(DataError, match=rf"{message}; names of videos end in \.3gp, \.avi"):
            find_videos([word])


def words(command: str, clip: Path, *more: object) -> list[object]:
    return [command, "zero_shot", "--backbone", clip, "--device", "cpu", "--labels", LABELS, *more]


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            r | ({"scores": json.loads(r["scores"]), "score": float(r["score"])} if r["scores"] else {}) for r in rows
        ]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet")
    return [r | {"scores": dict(r["scores"] or ())} for r in parquet.read_table(path).to_pylist()]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("form", [".csv", ".jsonl", ".parquet"])
def test_a_folder_to_a_file(
    capsys: pytest.CaptureFixture[str], clips: Path, tiny_clip: Path, tmp_path: Path, form: str, workers: int
) -> None:
    if form == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "new" / f"p{form}"
    code, printed, err = run(capsys, *words("predict", tiny_clip, clips, "--out", out, "--workers", workers))
    assert (code, printed) == (2, f"{out}\n")
    first, *lines = err.splitlines()
    assert first == f"7 videos in {clips}"
    assert len(lines) == 3 and "bad.mp4 cannot be read" in lines[0] and "empty.webm is empty" in lines[1]
    assert lines[2] == f"error: 2 of 7 videos failed, named above and in {out}"
    assert [p.name for p in out.parent.iterdir()] == [out.name], "nothing is left beside it"
    rows = rows_of(out)
    assert [row["path"] for row in rows] == names(clips, *ALL)
    one = from_backbone("zero_shot", LABELS.split(", "), backbone=str(tiny_clip), device="cpu")
    for row in rows:
        if row["path"].endswith(("bad.mp4", "empty.webm")):
            assert Path(row["path"]).name in row["error"] and not row.get("label")
            continue
        expected = one(row["path"])
        assert not row.get("error") and row["label"] == expected.label
        assert row["scores"] == pytest.approx(expected.scores, abs=1e-6)
        assert row["score"] == row["scores"][row["label"]]


def only_these(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Videos that are read from now on."""
    from stillmotion.data import many

    seen: list[str] = []
    read = many.read_views
    monkeypatch.setattr(many, "read_views", lambda video, *how: seen.append(str(video)) or read(video, *how))
    return seen


@pytest.mark.parametrize("form", [".csv", ".jsonl", ".parquet"])
def test_a_stopped_command_goes_on(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    clips: Path,
    tiny_clip: Path,
    tmp_path: Path,
    form: str,
) -> None:
    if form == ".parquet":
        pytest.importorskip("pyarrow")
    out, partial = tmp_path / f"p{form}", tmp_path / f"p{form}.partial.jsonl"
    command = words("predict", tiny_clip, clips, "--out", out, "--batch-views", 1)
    run(capsys, *words("predict", tiny_clip, clips, "--out", tmp_path / f"whole{form}", "--batch-views", 1))
    add, count = Results.add, 0

    def stop(self: Results, row: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if count > 4:
            raise KeyboardInterrupt
        add(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(Results, "add", stop)
        assert run(capsys, *command)[0] == 130
    assert [p.name for p in tmp_path.iterdir() if p.stem == out.stem or "partial" in p.name] == [partial.name]
    with partial.open("a") as file:
        file.write('{"path": "cut of')
    with monkeypatch.context() as patch:
        seen = only_these(patch)
        code, _, err = run(capsys, *command)
    # Those that could not be read are tried again.
    assert seen == names(clips, "a/bad.mp4", "b/deep/3.mkv", "b/empty.webm", "five.avi")
    assert code == 2 and "3 of 7 videos are in" in err and not partial.exists()
    assert rows_of(out) == rows_of(tmp_path / f"whole{form}")
    before = out.read_bytes()
    with monkeypatch.context() as patch:
        seen = only_these(patch)
        assert run(capsys, *words("predict", tiny_clip, f"{clips}/a/[12].mp4", "--out", out))[0] == 0
    assert seen == [] and out.read_bytes() == before, "all is done"
    write_video(tmp_path / "more.mp4", 5)
    with monkeypatch.context() as patch:
        seen = only_these(patch)
        assert run(capsys, *words("predict", tiny_clip, tmp_path / "more.mp4", clips / "a/1.mp4", "--out", out))[0] == 0
    assert seen == [str(tmp_path / "more.mp4")]
    assert [r["path"] for r in rows_of(out)][:2] == [str(tmp_path / "more.mp4"), str(clips / "a/1.mp4")]
    assert len(rows_of(out)) == 8, "what earlier commands wrote stays"


def test_results_of_something_else_are_refused(
    capsys: pytest.CaptureFixture[str], clips: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    out, video = tmp_path / "p.csv", clips / "a/1.mp4"
    command = words("predict", tiny_clip, video, "--out", out)
    assert run(capsys, *command)[0] == 0
    before = out.read_bytes()
    other = "of another model, or for other classes; choose another --out, or pass --overwrite"
    for more in (
        ["--labels", "surfing, skiing"],
        ["--labels", "skiing, surfing, a dog catching a frisbee"],
        ["--clean-names"],
    ):
        code, _, err = run(capsys, *command, *more)
        assert code == 2 and other in err and out.read_bytes() == before, more
    second = [
        "predict",
        "vificlip",
        "--backbone",
        tiny_clip,
        "--device",
        "cpu",
        "--labels",
        LABELS,
        video,
        "--out",
        out,
    ]
    code, _, err = run(capsys, *second)
    assert code == 2 and other in err, "of another number of frames"
    assert run(capsys, *second, "--overwrite")[0] == 0 and out.read_bytes() != before
    for content in ("path,label\nx,y\n", "", "\0\0", "path,label,score,error,scores,model\nx,y,z,,{},m\n"):
        out.write_text(content)
        code, _, err = run(capsys, *command)
        assert code == 2 and "is no file of such results, or is damaged" in err and len(err.splitlines()) == 1
        assert out.read_text() == content
    out.unlink()
    partial = tmp_path / "p.csv.partial.jsonl"
    partial.write_text('{"path": "x", "model": "another"}\n')
    code, _, err = run(capsys, *command)
    assert code == 2 and f"{partial} holds results of another model" in err
    partial.write_text('{"path": "x"\n')
    code, _, err = run(capsys, *command)
    assert code == 2 and f"{partial}:1 is damaged" in err
    assert run(capsys, *command, "--overwrite")[0] == 0 and not partial.exists()


def test_one_process_writes_a_file(
    capsys: pytest.CaptureFixture[str], clips: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    with FileLock(tmp_path / ".p.csv.lock"):
        code, _, err = run(capsys, *words("predict", tiny_clip, clips / "a/1.mp4", "--out", out))
    assert code == 2 and f"another process is writing {out}" in err


def test_a_killed_process_loses_nothing_that_was_done(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Killed, not stopped: in the middle of the third video."""
    out = tmp_path / "p.jsonl"
    code = """
import os, signal, sys
from stillmotion.cli import main
from stillmotion.data import many
read, count = many.read_views, 0
def one(*how):
    global count
    count += 1
    if count == 3: os.kill(os.getpid(), signal.SIGKILL)
    return read(*how)
many.read_views = one
main(sys.argv[1:])
"""
    command = [*map(str, words("predict", tiny_clip, clips, "--out", out, "--batch-views", 1))]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=False)
    assert done.returncode == -9
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".p.jsonl.lock") == ["p.jsonl.partial.jsonl"]
    done = subprocess.run([sys.executable, "-m", "stillmotion", *command], capture_output=True, check=False, text=True)
    assert done.returncode == 2 and "2 of 7 videos are in" in done.stderr
    assert [row["path"] for row in rows_of(out)] == names(clips, *ALL) and list(tmp_path.iterdir()) == [out]


def test_failures_are_named_in_json_too(capsys: pytest.CaptureFixture[str], clips: Path, tiny_clip: Path) -> None:
    code, out, err = run(capsys, *words("predict", tiny_clip, clips, "rtsp://cam/1", "--json", "--top", 1))
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 2 and [line["path"] for line in lines] == [*names(clips, *ALL), "rtsp://cam/1"]
    assert [line["path"] for line in lines if "error" in line] == [*names(clips, ALL[2], ALL[5]), "rtsp://cam/1"]
    assert "rtsp://cam/1 is an address, not a file" in lines[-1]["error"]
    assert all(len(line["scores"]) == 1 for line in lines if "scores" in line)
    assert err.splitlines()[-1] == "error: 3 of 8 videos failed, named above"


@pytest.mark.parametrize("form", [".npz", ".parquet"])
def test_embeddings(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    clips: Path,
    tiny_image_tower: Path,
    tmp_path: Path,
    form: str,
) -> None:
    """An image tower alone is enough, and no class is named."""
    if form == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"e{form}"
    command = ["embed", "zero_shot", "--backbone", tiny_image_tower, "--device", "cpu", clips, "--out", out]
    code, printed, err = run(capsys, *command)
    assert (code, printed) == (2, f"{out}\n") and "2 of 7 videos failed" in err
    if form == ".npz":
        with np.load(out, allow_pickle=False) as file:
            found = dict(zip(file["paths"].tolist(), file["embeddings"]))
            failed = dict(zip(file["failed"].tolist(), file["errors"].tolist()))
            assert file["embeddings"].dtype == np.float32 and file["embeddings"].shape == (5, 32)
    else:
        from pyarrow import parquet

        rows = parquet.read_table(out).to_pylist()
        assert [row["path"] for row in rows] == names(clips, *ALL)
        found = {row["path"]: np.array(row["embedding"], np.float32) for row in rows if row["embedding"]}
        failed = {row["path"]: row["error"] for row in rows if row["error"]}
    assert list(failed) == names(clips, ALL[2], ALL[5]) and "is empty (0 bytes)" in failed[str(clips / ALL[5])]
    one = from_backbone("zero_shot", None, backbone=str(tiny_image_tower), device="cpu")
    for path in names(clips, *(name for i, name in enumerate(ALL) if i not in (2, 5))):
        assert np.allclose(found[path], one.embed(path).numpy(), atol=1e-6)
    with monkeypatch.context() as patch:
        seen = only_these(patch)
        assert run(capsys, *command)[0] == 2
    assert seen == names(clips, ALL[2], ALL[5])
    if form == ".npz":  # of nothing, rows without columns
        bad = tmp_path / "bad.npz"
        assert run(capsys, *command[:6], clips / ALL[2], clips / ALL[5], "--out", bad)[0] == 2
        with np.load(bad, allow_pickle=False) as file:
            assert file["embeddings"].shape == (0, 0) and len(file["failed"]) == 2
    code, _, err = run(capsys, *[w if w != "zero_shot" else "vificlip" for w in command])
    assert code == 2 and "of another model, or for other classes" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "p.xlsx"], "--out p.xlsx: results are written to files that end in .csv or .jsonl or .parquet"),
        (["--out", "p"], "results are written to files that end in"),
        (["--batch-views", 0], "batch-views is 0; it must be at least 1"),
        (["--workers", -1], "workers is -1; it must be at least 0, or left out"),
        (["--device", "gpu"], "device 'gpu' is unknown; choose auto, cpu, cuda, cuda:0, cuda:1, ..., or mps"),
        (["--device", "cuda:99"], "device 'cuda:99' is not here"),
    ],
)
def test_mistakes_are_said_before_the_model_is_read(
    capsys: pytest.CaptureFixture[str], video: Path, tiny_clip: Path, more: list[object], message: str
) -> None:
    code, _, err = run(capsys, *words("predict", tiny_clip, video, *more))
    assert code == 2 and message in err and len(err.splitlines()) == 1


def test_a_name_that_is_no_text_and_a_folder_in_the_way(
    capsys: pytest.CaptureFixture[str], video: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"\xff.mp4")
    odd.write_bytes(video.read_bytes())
    for form in (".csv", ".jsonl"):
        out = tmp_path / f"p{form}"
        assert run(capsys, *words("predict", tiny_clip, odd, "--out", out))[0] == 0
        assert run(capsys, *words("predict", tiny_clip, odd, "--out", out)) == (
            0,
            f"{out}\n",
            f"1 of 1 videos are in {out}\n",
        )
    assert run(capsys, *words("embed", tiny_clip, odd, "--out", tmp_path / "e.npz"))[0] == 0
    (tmp_path / "d.csv").mkdir()
    code, _, err = run(capsys, *words("predict", tiny_clip, video, "--out", tmp_path / "d.csv"))
    assert code == 2 and "d.csv is a folder; name a file in it" in err
    pytest.importorskip("pyarrow")
    code, _, err = run(capsys, *words("predict", tiny_clip, odd, "--out", tmp_path / "p.parquet"))
    assert code == 2 and "is no text" in err and "write .csv or .jsonl" in err
