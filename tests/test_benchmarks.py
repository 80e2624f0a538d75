"""Every benchmark runs, small: without network, real weights or videos, and without a change to a page."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [p for p in sorted((ROOT / "benchmarks").glob("*.py")) if "__main__" in p.read_text(encoding="utf-8")]


def pages() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_quick(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pages()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(script.parent), *sys.path])
    monkeypatch.setattr(sys, "argv", [str(script), "--quick"])
    runpy.run_path(str(script), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith(("| ---", "|---")))
    assert lines[head + 1].count("|") == lines[head].count("|"), "a table with at least one row"
    assert pages() == before
    assert not list(tmp_path.iterdir())


def test_all_are_found() -> None:
    assert {p.stem for p in SCRIPTS} >= {
        "checkpoints_table",
        "decode",
        "demo_table",
        "evl_decoder",
        "parity",
        "weizmann",
    }
