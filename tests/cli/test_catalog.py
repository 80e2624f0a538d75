"""What has a name: `stillmotion list`, and the recipes that `stillmotion train` shows."""

import re

import pytest

from stillmotion.recipes import OWN_CLIPS, PUBLISHED, RECIPES
from tests.cli.test_cli import run


def test_each_kind_alone_and_all_together(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [run(capsys, "list", part)[1] for part in ("methods", "recipes", "weights")]
    assert "".join(parts) == run(capsys, "list")[1]
    lines = [line.strip() for line in parts[1].splitlines()]
    assert {line.split()[0] for line in parts[1].splitlines() if re.match("  [a-z]", line)} == set(RECIPES)
    (start,) = [i for i, line in enumerate(lines) if line.startswith("xclip_k400_b16_8f ")]
    assert lines[start + 1 : start + 3] == [
        "table 1: Kinetics-400 83.8 top-1, 96.7 top-5 (4x3 views)",
        "release: Kinetics-400 95.7 top-5 (4x3 views)",
    ]
    shots = "80.7, 85.1, 90.0, 92.7 top-1 (K=2, K=4, K=8, K=16)"
    assert any(line.startswith("table 3: ") and f"; UCF-101 {shots}; " in line for line in lines)
    names = [line[:24].strip() for line in parts[2].splitlines()[1:] if line.strip()]
    assert "auto" in names and all(" " not in name for name in names), "a table of names, and no prose"


def test_a_width_that_is_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    free = run(capsys, "list", "weights")[1].splitlines()
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(capsys, "list", "weights")[1].splitlines()
    assert max(map(len, lines)) <= 80 < max(map(len, free))
    assert all(line == line.rstrip() for line in (*lines, *free))


@pytest.mark.parametrize(
    ("words", "wrong", "hint"),
    [
        (["recipe"], "recipe", "; did you mean 'recipes'?"),
        (["recipes", "weights"], "weights", ""),
    ],
)
def test_other_words_are_one_line(capsys: pytest.CaptureFixture[str], words: list[str], wrong: str, hint: str) -> None:
    code, _, err = run(capsys, "list", *words)
    assert code == 2
    assert (
        err
        == f"error: stillmotion list takes no {wrong!r}{hint}; it takes one word or none: methods, recipes, weights\n"
    )


def test_train_shows_own_clips_first_and_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "train", "--help")
    own, published = out.split("of published numbers")
    assert all(f"  {recipe.__name__} " in own for recipe in OWN_CLIPS)
    assert all(recipe.__name__ in published for recipe in PUBLISHED)
    assert len(out.splitlines()) < 40
    assert max(map(len, published.splitlines())) <= 120
