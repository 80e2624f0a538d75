"""What has a name: `stillmotion list`, and the recipes that `stillmotion train` shows."""

import pytest

from stillmotion.recipes import OWN_CLIPS, PUBLISHED, RECIPES
from tests.cli.test_cli import run


def test_each_kind_alone_and_all_together(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [run(capsys, "list", part)[1] for part in ("methods", "recipes", "weights")]
    assert "".join(parts) == run(capsys, "list")[1]
    lines = {line.split()[0]: line for line in parts[1].splitlines() if line.startswith("  ")}
    assert set(lines) == set(RECIPES)
    assert "Paper 83.8 top-1, 96.7 top-5 (4x3 views, table 1)" in lines["xclip_k400_b16_8f"]


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
