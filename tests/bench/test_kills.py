"""A benchmark that is killed goes on cell by cell, and ends with the same table."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.bench.small import SMALL, bench, cell, refused, timeless
from tests.faults import command, until


@pytest.mark.parametrize("finished", [1, 3])
def test_killed_and_gone_on(finished: int, clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """With a closed head, whose novel cells have no numbers; killed when so many cells are there."""

    def words(out: Path) -> list[str]:
        given = ("base-to-novel", "linear_probe", "zero_shot", "vificlip", "--data", clips, "--backbone", tiny_clip,
                 "--epochs", 2, "--warmup", 0, "--save-minutes", 0, "--shots", 2, "--seeds", 0, 1,
                 "--out", out)  # fmt: skip
        return list(map(str, given))

    bench(*words(tmp_path / "whole"))
    out = tmp_path / "killed"
    child = command(["bench", *words(out), *SMALL])
    until(lambda: len(list(out.glob("cells/*/cell.json"))) >= finished, child)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait().code == -signal.SIGKILL
    written = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/cell.json")}
    assert finished <= len(written) < 12, "it was killed on the way"
    time.sleep(0.01)
    bench(*words(out))
    assert timeless(out) == timeless(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == when for path, when in written.items()), "what was done is not done again"
    one, other = (cell(tmp_path / name, "vificlip_2-shots_seed-1_novel")[2] for name in ("whole", "killed"))
    assert one.probabilities.equal(other.probabilities)
    assert not list(out.rglob("*.tmp")) and not list(out.rglob("state.pt"))


def test_a_finished_table(clips: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same again reads it back; with other settings it is refused, and nothing changes; --overwrite starts over."""
    words = ("zero-shot", "zero_shot", "--data", clips, "--backbone", tiny_clip, "--out", tmp_path / "out")
    bench(*words)
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != "origin.json"}
    bench(*words)
    assert {p: p.read_bytes() for p in before} == before
    for other in (("--statistics", "imagenet"), ("--clean-names",), ("--draws", 1, "--draw-classes", 2)):
        assert "--overwrite" in refused(capsys, *words, *other)
        files = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != "origin.json"}
        assert files == before
    bench(*words, "--statistics", "imagenet", "--overwrite")
    _, config, _ = cell(tmp_path / "out", f"zero_shot_seed-0_{clips.name}")
    assert config["recipe"]["statistics"] == "imagenet"


def test_a_table_of_an_older_version_goes_on(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Which lacks a field that has come since, and which says nothing else than its default."""
    words = ("zero-shot", "zero_shot", "--data", clips, "--backbone", tiny_clip, "--out", tmp_path / "out")
    bench(*words)
    before, file = timeless(tmp_path / "out"), tmp_path / "out" / "cells" / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    assert config["methods"]["zero_shot"].pop("stored") == "float16"
    file.write_text(json.dumps(config), encoding="utf-8")
    bench(*words)
    assert timeless(tmp_path / "out") == before
