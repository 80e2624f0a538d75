"""`stillmotion count`: the table, the JSON, what a recipe decides, and errors on one line."""

import json

import pytest

from stillmotion.cli.count import defaults
from tests.cli.test_cli import run


def test_json_of_evl(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("evl", "--num-frames", 8, "--layers", 1, "--no-cross-attention", "--views", 3, "--json")
    code, out, _ = run(capsys, "count", *words)
    found = json.loads(out)
    assert code == 0
    assert round(found["new"] / 1e6, 2) == 7.41  # EVL, table 2
    assert round(3 * found["plain_macs_per_view"] / 1e9, 1) == 427.1
    assert found["macs_per_video"] == 3 * found["macs_per_view"] < 3 * found["plain_macs_per_view"]
    assert found["parameters"] == sum(part["parameters"] for part in found["parts"].values())
    assert found["macs_per_view"] == sum(part["macs"] for name, part in found["parts"].items() if name != "text")
    assert found["method"]["layers"] == 1
    assert "json" not in found


def test_the_table_has_every_tower(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("zero_shot", "--clip-model", "ViT-B-32", "--num-frames", 2, "--image-size", 64, "--text-tokens", 5)
    code, out, _ = run(capsys, "count", *words)
    assert code == 0
    rows = {line.split("  ")[1].strip(): line.split() for line in out.splitlines() if line.startswith("  ")}
    assert {"visual", "temporal", "head", "a video", "text", "total"} <= set(rows)
    grid = 50 - 2 * 2 - 1  # positions fewer than at 224 pixels
    assert rows["total"][1:] == [f"{151_277_313 - 768 * grid:,}", "0", "0"]
    assert "2 frames of 64x64, 1 view, 400 classes" in out
    assert "at 5 tokens a prompt" in out


def test_a_recipe_decides_model_and_views() -> None:
    found = defaults("evl_k400_b16_8f")
    assert (found.clip_model, found.views, found.method.num_frames) == ("ViT-B-16", 3, 8)
    assert defaults("vificlip_k400").views == 12
    assert defaults("actionclip").method.needs_text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evil",), "did you mean 'evl'"),
        (("evl", "--clip-model", "ViT-B-17"), "did you mean 'ViT-B-16'"),
        (("evl", "--frames", "4"), "did you mean '--num-frames'"),
        (("evl", "--views", "0"), "views is 0"),
        (("evl", "--image-size", "7"), "choose a larger one"),
        (("xclip", "--text-tokens", "78"), "text-tokens is 78"),
        (("--json", "evl"), "before the options"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str) -> None:
    code, out, err = run(capsys, "count", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
