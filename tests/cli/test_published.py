"""`stillmotion results`: the table, CSV, JSON, and errors on one line."""

import csv
import io
import json

import pytest

from tests.cli.test_cli import run


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "results", "--data", "UCF101", "--setting", "zero-shot")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "data: UCF-101, setting: zero-shot, metric: top-1"
    row = next(line for line in lines if "ViFi-CLIP  " in line)
    assert "ViFi-CLIP, table 1" in row and "76.8" in row and "0.7" in row
    assert "MAXI" not in out, "from memory"
    assert "from memory" in err
    marked = next(line for line in lines if line.strip().startswith("ActionCLIP") and "58.3" in line)
    assert marked.rstrip().endswith("[1]")
    assert any(line.startswith("[1] conflict: ") for line in lines)


def test_csv_and_json_hold_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("results", "--method", "evl", "--source", "EVL, table 1")
    _, text, _ = run(capsys, *words, "--csv")
    _, out, _ = run(capsys, *words, "--json")
    rows, found = list(csv.DictReader(io.StringIO(text))), json.loads(out)
    assert [float(r["value"]) for r in rows] == [r["value"] for r in found]
    assert found[0]["gflops"] == 444


def test_numbers_from_memory_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "results", "--method", "MAXI")
    assert (code, out) == (2, "")
    assert "--unverified" in err
    code, out, _ = run(capsys, "results", "--method", "MAXI", "--unverified")
    assert code == 0 and "unverified: " in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "UCF102"), "did you mean 'UCF-101'"),
        (("--csv", "--json"), "pass one"),
        (("--data", "k400", "--plot", "a.gif"), "ends in .png, .svg, .html"),
        (("--method", "evl", "--plot", "a.png"), "pass --data"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str) -> None:
    code, out, err = run(capsys, "results", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
