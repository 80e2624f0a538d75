"""Runs side by side: paired on the videos that they share, by path and by class name."""

import re
from pathlib import Path

import pytest

from stillmotion.errors import StillmotionError
from stillmotion.report.compare_page import difference, pairs, unique_names, write_comparison
from stillmotion.report.runs import Run, read_run
from tests.cli.test_cli import run as command
from tests.report.folders import write_run, write_scores
from tests.report.test_run_page import text

PATHS = [f"v{i}.mp4" for i in range(6)]
LABELS = [0, 0, 1, 1, 2, 2]


@pytest.fixture
def two(tmp_path: Path) -> list[Run]:
    write_run(tmp_path / "a" / "run", PATHS, LABELS, [0, 0, 1, 1, 2, 0])
    # The same videos in another order, from the root, with another order of classes.
    order, classes = [3, 1, 5, 0, 2, 4], ("sit", "jump", "run")
    called = {0: 1, 1: 0, 2: 2, 3: 0, 4: 0, 5: 0}
    write_scores(
        tmp_path / "b" / "run", [Path.cwd() / PATHS[i] for i in order], [(LABELS[i] + 1) % 3 for i in order],
        [called[i] for i in order], classes,
    )  # fmt: skip
    return [read_run(tmp_path / name / "run") for name in "ab"]


def test_pairs_are_matched_by_path_and_name(two: list[Run]) -> None:
    found = difference(*two, "a", "b")
    assert found.paired is not None
    # The first has v5 alone wrong; the second v1 and v3.
    assert (found.paired.videos, found.paired.only_first, found.paired.only_second) == (6, 2, 1)
    assert found.disagree == 0


def test_videos_that_are_not_common_or_labeled_otherwise(two: list[Run], tmp_path: Path) -> None:
    write_scores(tmp_path / "c", ["v0.mp4", "v1.mp4", "w.mp4"], [0, 2, 1], [0, 2, 1])
    found = difference(two[0], read_run(tmp_path / "c"), "a", "c")
    assert found.paired is not None
    assert (found.paired.videos, found.disagree) == (1, 1)
    write_scores(tmp_path / "d", ["x.mp4"], [0], [0])
    write_comparison(tmp_path / "page.html", [two[0], read_run(tmp_path / "d")])
    words = text(tmp_path / "page.html")
    assert "run and d: no video with the same label is in both" in words
    assert "scored on different videos" in words


def test_the_page(two: list[Run], tmp_path: Path) -> None:
    write_comparison(tmp_path / "page.html", two)
    words, html = text(tmp_path / "page.html"), (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "a/run has the highest top-1" in words
    assert "+16.7 points" in words
    assert "no difference that these videos show" in words
    assert html.count('<tr class="best">') == 1
    assert "83.3 % (44 to 97)" in words
    assert "stillmotion train some_method" in words
    assert "learning rate 0.25" in words, "of the first"
    rows = dict(re.findall(r'<td data-label="class">\s*(\w+)\s*</td>(.*?)</tr>', html, flags=re.DOTALL))
    assert re.findall(r"<span>(\d+)\s%</span>", rows["jump"]) == ["80", "67"]


def test_which_are_compared() -> None:
    assert pairs(3, 1) == [(0, 1), (0, 2), (1, 2)]
    assert pairs(6, 2) == [(2, 0), (2, 1), (2, 3), (2, 4), (2, 5)]


def test_names_tell_runs_apart(two: list[Run]) -> None:
    assert unique_names(two) == ["a/run", "b/run"]
    with pytest.raises(StillmotionError, match="is given twice; name every run once"):
        unique_names([two[0], two[0]])


def test_the_command(two: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [run.folder for run in two]
    code, out, err = command(capsys, "report", *folders, "-o", tmp_path / "both.html")
    assert (code, out.strip()) == (0, str(tmp_path / "both.html")), err
    assert "2 runs side by side" in text(tmp_path / "both.html")
    code, out, _ = command(capsys, "report", folders[0])
    assert (code, out.strip()) == (0, str(folders[0] / "report.html"))
    code, out, err = command(capsys, "report", folders[0], tmp_path)
    assert code == 2
    assert "holds no finished run" in err
    assert len(err.splitlines()) == 1
    code, _, err = command(capsys, "report")
    assert code == 2
