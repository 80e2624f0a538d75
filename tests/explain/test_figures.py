"""What is drawn, and `stillmotion explain`."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stillmotion.cli import main
from stillmotion.explain import Explanation, Map
from stillmotion.prediction import Prediction
from stillmotion.report.explanation import (
    GAP,
    PANEL,
    Scale,
    explanation_figures,
    film,
    order,
    overlay,
    write_explanation,
)
from stillmotion.report.page import write_page


def made(T: int = 3, grid: tuple[int, int] = (4, 6), label: str = "surf") -> Explanation:
    """Gray frames whose maps each have one bright place that moves one patch a frame."""
    gh, gw = grid
    weights = torch.full((T, gh, gw), 0.001)
    for t in range(T):
        weights[t, 1, t % gw] = 0.5
    heads = weights.expand(2, 3, -1, -1, -1)
    maps = {
        "rollout": Map(weights, "frame", "r", 1 - weights.sum((1, 2))),
        "class: surf": Map(weights - 0.2, "nothing", "c"),
        "query": Map(weights / T, "video", "q", torch.tensor(0.0), heads),
        "tower": Map(weights, "frame", "t", 1 - weights.sum((1, 2)), heads),
        "tower before tuning": Map(0.2 * weights, "frame", "b", 1 - weights.sum((1, 2)), heads),
    }
    frames = torch.full((T, 3, gh * 8, gw * 8), 0.5)
    prediction = Prediction(label, 0.75, {label: 0.75, "ski": 0.25})
    return Explanation(frames, maps, {"rollout before tuning": "no"}, label, torch.linspace(0, 1, T), prediction)


def picture(uri: str) -> Image.Image:
    kind, data = re.fullmatch(r"data:image/(\w+);base64,(.+)", uri).groups()
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.format.lower() == kind
    return image


def test_figures() -> None:
    figures = explanation_figures(made())
    assert [s.name for s in figures.strips] == [
        "frames", "tower", "tower before tuning", "query", "class: surf", "rollout",
    ]  # fmt: skip
    assert figures.side == (160, 240)
    assert all(picture(s.image).size == (3 * (240 + GAP), 160) for s in figures.strips)
    assert [s.name for s in figures.heads] == ["heads of tower", "heads of query"]
    tower, query = (picture(s.image).size for s in figures.heads)
    assert tower[0] == query[0] == 3 * (168 + GAP)
    assert query[1] == 2 * tower[1], "two layers of the query, the last block of the tower"
    assert figures.heads[0].about == "each head on frame 3, the last block", "the frame that says most of the class"
    assert figures.title == "surf, 75.0 %"
    assert figures.scores == [0.0, 0.5, 1.0]
    assert figures.not_shown == ["rollout before tuning: no"]
    shares = {s.name: s.shares for s in figures.strips if s.shares}
    assert set(shares) == {"query"}
    assert shares["query"] == pytest.approx(made().maps["query"].weights.sum((1, 2)).tolist())


def test_the_film_loops_over_all_frames() -> None:
    found = made(T=5)
    movie = picture(explanation_figures(found).film)
    assert movie.n_frames == 5
    assert movie.info["loop"] == 0
    assert movie.size == film(found)[0].size
    assert movie.size[0] == 2 * round(PANEL * 1.5) + GAP


def test_brightest_where_the_weight_is() -> None:
    found = made()
    drawn = overlay(found.frames, found.maps["tower"].weights, Scale.of(found, "tower"), (160, 240)).astype(int)
    for t in range(3):
        light = drawn[t].sum(-1)
        y, x = np.unravel_index(light.argmax(), light.shape)
        assert (y // 40, x // 40) == (1, t)
        # Smooth: a small part of the range from one pixel to the next.
        assert np.abs(np.diff(light, axis=0)).max() <= 0.15 * (light.max() - light.min())
    assert drawn[0, -1, -1].max() < 90, "half of the patches are dark"


def test_before_and_after_have_one_scale() -> None:
    found = made()
    assert Scale.of(found, "tower") == Scale.of(found, "tower before tuning")
    assert Scale.of(found, "tower") != Scale.over(found.maps["tower before tuning"].weights, "frame")
    low, high = Scale.of(found, "rollout").ends
    assert low.endswith("% or less")
    assert high == "50 % or more"
    assert Scale.of(found, "class: surf").ends == ("-0.199 or less", "+0.300 or more")


def test_a_flat_map_is_dark() -> None:
    flat = torch.full((2, 4, 4), 0.25)
    drawn = overlay(torch.ones(2, 3, 32, 32), flat, Scale.over(flat, "frame"), (160, 160))
    assert drawn.std() == 0


def test_order_is_that_of_the_paper() -> None:
    assert order(made())[:3] == ["tower", "tower before tuning", "query"]


@pytest.mark.parametrize("T", [1, 3, 20])
@pytest.mark.parametrize("ending", ["html", "png", "gif", "webp"])
def test_every_kind_of_file(T: int, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"seen.{ending}"
    write_explanation(path, made(T=T), "a model, a video")
    if ending == "html":
        return
    with Image.open(path) as image:
        assert image.format == ending.upper()
        assert ending == "png" or image.n_frames == T


def test_the_page_needs_nothing_else_and_escapes_names(tmp_path: Path) -> None:
    write_explanation(tmp_path / "page.html", made(label="<script>alert(1)</script>"), "a & b")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "a &amp; b" in page
    sources = re.findall(r'(?:src|href)="([^"]{1,40})', page)
    assert len(sources) >= 10
    assert all(re.match(r"data:image/(webp|png);base64,", s) for s in sources)
    assert "http" not in re.sub(r"data:image/\w+;base64,[^\"]+", "", page)
    assert "prefers-color-scheme: dark" in page
    for text in ("17.4 %", "rollout before tuning: no", "or more", "50.0 %"):
        assert text in page, text


def test_the_command(tiny_clip: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "zero_shot", str(video), "--labels", "surfing, a dog", "--backbone", str(tiny_clip)]
    main([*words, "-o", str(tmp_path / "page.html"), "--class", "a dog", "surfing"])
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith(("  surfing", "  a dog"))
    assert "not shown: query: this model has no query that reads patches" in out
    assert out[-1] == f"wrote {tmp_path / 'page.html'}"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "class: a dog" in page
    assert "class: surfing" in page
    assert "probability of a dog" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "page.pdf"], "--out is page.pdf; its ending must be one of .html, .gif, .webp, .png"),
        ([], "missing"),
        (["-o", "page.html", "--class", "dogs"], "there is no class 'dogs'; did you mean 'a dog'?"),
    ],
)
def test_what_the_command_refuses(
    words: list[str],
    message: str,
    tiny_clip: Path,
    video: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["explain", "zero_shot", str(video), "--labels", "cat, a dog", "--backbone", str(tiny_clip), *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing is half written"


def test_its_page_has_the_base_of_all_pages(tmp_path: Path) -> None:
    """One skeleton and one set of colors."""
    write_explanation(tmp_path / "page.html", made(), "model, surf.mp4")
    write_page(tmp_path / "other.html", "base", title="another")
    page, other = ((tmp_path / name).read_text() for name in ("page.html", "other.html"))
    style = re.search(r"<style>.*?</style>", other, re.DOTALL)
    assert style is not None and style[0] in page
    assert page.count("<!doctype html>") == page.count("</body>") == 1
    own = page.replace(style[0], "")
    assert "--ink:" not in own and "prefers-color-scheme" not in own and not re.search(r"#[0-9a-fA-F]{6}\b", own)
    assert "<h1>model, surf.mp4</h1>" in page and "surf, 75.0 %" in page
