"""The page of a run says what its files say, needs nothing else, and never stands in the way of results."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

import stillmotion.report.run_page as run_page
from stillmotion.data.bad import BadVideo
from stillmotion.errors import StillmotionError
from stillmotion.report.examples import mistakes
from stillmotion.report.figures import curves_figures, losses_by_epoch
from stillmotion.report.run_page import write_run_page
from stillmotion.report.runs import EVALUATED, TRAINED, read_run, read_runs
from stillmotion.run_report import write_run_report
from tests.report.folders import AUTO, write_run, write_scores

LABELS, CALLED = [0, 0, 1, 1, 2, 2], [0, 1, 1, 0, 2, 0]


@pytest.fixture
def folder(folder_of_videos: Path, tmp_path: Path) -> Path:
    """A run with three mistakes, of which the last, the surest, is of a video that is gone."""
    paths = [*sorted(folder_of_videos.rglob("*.mp4"))[:5], tmp_path / "gone.mp4"]
    return write_run(tmp_path / "run", paths, LABELS, CALLED)


def text(page: Path) -> str:
    """A page without pictures, styles and tags."""
    html = re.sub(r"<style>.*?</style>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_the_page_says_what_the_files_say(folder: Path) -> None:
    page = write_run_page(read_run(folder))
    assert page == folder / "report.html"
    words = text(page)
    for part in (
        "some_method on my_videos",
        "3 of 6 videos right: 50.0 % (95 % interval 18.8 to 81.2 %)",
        "50.0 % mean of 3 classes",
        "33.3 % if all were called the most frequent class",
        "jump was called run 1 of 2 times",
        "stillmotion train some_method --data 'my videos'",
        "stillmotion 1.2.3, torch 9.9, python 3.99",
        "2 cores of Abacus <9000>, no GPU",
        "2026-01-02 03:04:05 UTC",
        "method some_method (num_frames 8)",
        "learning rate 0.25",
        "seed 7",
        "4,102 parameters in 3.0 s",
        "training loss",
        "validation top-1, %",
    ):
        assert part in words.replace(" in 3 s", " in 3.0 s"), part
    assert "top-5" not in words
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|@import|src=|None", re.sub(r"base64,[\w+/=]+", "", html))


def test_the_worst_mistakes_come_first_and_a_gap_has_its_name(folder: Path) -> None:
    run = read_run(folder)
    assert mistakes(run.predictions) == [5, 3, 1]
    page = write_run_page(run).read_text(encoding="utf-8")
    assert re.findall(r"<h3>(\w+), called <span[^>]*>(\w+)<", page) == [
        ("sit", "jump"),
        ("run", "jump"),
        ("jump", "run"),
    ]
    assert re.search(r"No frames: no video .*gone\.mp4", page)
    assert page.count("data:image/jpeg;base64,") == 2, "one picture a clip"
    assert "the model&#39;s file is not there" in page


def test_classes_have_their_numbers(folder: Path) -> None:
    page = write_run_page(read_run(folder)).read_text(encoding="utf-8")
    rows = dict(re.findall(r'<td data-label="class">\s*(\w+)\s*</td>(.*?)</tr>', page, flags=re.DOTALL))
    assert set(rows) == {"jump", "run", "sit"}
    assert re.findall(r"<span>(\d+)\s%</span>", rows["jump"]) == ["33", "50", "40"]
    assert re.findall(r"<span>(\d+)\s%</span>", rows["sit"]) == ["100", "50", "67"]
    assert re.findall(r"width: ([\d.]+)%", rows["jump"]) == ["33.3", "50.0", "40.0"]


def test_no_mistakes_bad_videos_and_many_classes(tmp_path: Path) -> None:
    classes = [f"class{i}" for i in range(60)]
    bad = [BadVideo("broken.mp4", "broken.mp4 is empty (0 bytes); replace or remove it")]
    paths = [f"{i}.mp4" for i in range(60)]
    write_scores(tmp_path, paths, range(60), range(60), classes, bad=bad)
    words = text(write_run_page(read_run(tmp_path)))
    assert "There are none: all 60 videos are right" in words
    assert "Videos that could not be read" in words
    assert "broken.mp4 is empty (0 bytes); replace or remove it" in words
    assert "100.0 % top-5" in words
    assert "20 more" in words, "forty classes are shown"
    assert "Learning curves" not in words
    assert "The folder does not say" not in words, "its path is a fact"


def test_an_interval_over_recordings_is_told(folder: Path) -> None:
    assert "By a bootstrap" not in text(write_run_page(read_run(folder)))
    numbers = json.loads((folder / "results.json").read_text())
    intervals = {"drawn": "recordings (a)", "draws_of": 3, "bootstrap_top1": [0.25, 0.875]}
    (folder / "results.json").write_text(json.dumps(numbers | {"card": {"intervals": intervals}}))
    words = text(write_run_page(read_run(folder)))
    assert "By a bootstrap that draws its 3 recordings whole, it is 25.0 to 87.5 %." in words


def test_a_sweep_names_a_run_inside(tmp_path: Path) -> None:
    (tmp_path / "lr-1").mkdir()
    write_scores(tmp_path / "lr-1", ["a.mp4", "b.mp4"], [0, 1], [0, 0])
    with pytest.raises(StillmotionError, match=r"holds no finished run; .*; there are runs inside, the first: .*lr-1"):
        read_runs(tmp_path)


def test_names_are_escaped(tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>", "a & b", "\"'}</style>")
    write_scores(tmp_path, ["<b>.mp4", "y.mp4", "z.mp4"], [0, 1, 2], [1, 2, 0], names)
    html = write_run_page(read_run(tmp_path)).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>.mp4" not in html
    assert "a &amp; b" in html
    assert html.count("</style>") == 1


def test_a_search_and_the_order_of_frames(folder: Path) -> None:
    (folder / "auto.json").write_text(json.dumps(AUTO))
    words = text(write_run_page(read_run(folder)))
    chosen = "decoder was chosen by cross-validation on the training videos."
    assert f"{chosen} On the held-out videos it gets 90.0 %." in words, "of a run before there were reasons"
    (folder / "auto.json").write_text(json.dumps(AUTO | {"reason": "decoder has the best mean."}))
    assert f"{chosen} decoder has the best mean. On the held-out" in text(write_run_page(read_run(folder)))
    assert words.index("decoder (chosen) 91.0 % ± 2.0") < words.index("probe 81.0 % ± 5.0")
    assert "1,234,567 6 min" in words
    assert "The clip backwards gives 80 %, order adds 13 points; run and sit need it." in words
    (folder / "auto.json").write_text(json.dumps(AUTO | {"order": {"full": 1.0}}))
    with pytest.raises(StillmotionError, match=r"auto\.json lacks what a page shows"):
        write_run_page(read_run(folder))


@dataclass
class Seen:
    """Parts of an explanation."""

    frames: torch.Tensor
    maps: dict[str, Any]
    frame_scores: torch.Tensor


@dataclass
class SeenMap:
    """Parts of a map."""

    weights: torch.Tensor
    sums: str
    about: str


class Looking:
    """What a page asks of a classifier."""

    device = torch.device("cpu")
    untuned: Any = "built for every clip"

    def __init__(self, by_frame: bool = True) -> None:
        self.model = type("Model", (), {"visual": type("Visual", (), {"by_frame": by_frame})()})()
        self.asked: list[str] = []

    def explain(self, path: Path) -> Seen:
        assert self.untuned is None, "what training changed is not asked for"
        self.asked.append(path.name)
        if not path.is_file():
            raise StillmotionError(f"no video {path}")
        weights = torch.zeros(4, 2, 2)
        weights[:, 0, 0] = torch.tensor([0.1, 0.2, 0.3, 0.4])
        return Seen(torch.rand(4, 3, 16, 16), {"query": SeenMap(weights, "video", "where it looks")}, torch.ones(4) / 3)


def test_a_model_shows_where_it_looks(folder: Path) -> None:
    model: Any = Looking()
    page = write_run_page(read_run(folder), model)
    words = text(page)
    assert len(model.asked) == 3
    assert model.untuned is not None, "the caller's model is left alone"
    assert "show attention" in words
    assert "The map: where it looks; it says" in words
    assert "attention 40 % alone 33 %" in words
    assert page.read_text(encoding="utf-8").count("data:image/png;base64,") == 2


def test_a_tower_that_mixes_frames_is_not_run_for_each(folder: Path) -> None:
    model: Any = Looking(by_frame=False)
    assert "show attention" not in text(write_run_page(read_run(folder), model))
    assert model.asked == []


def test_an_evaluation_has_a_page_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scores(folder, ["a.mp4", "b.mp4"], [0, 1], [0, 0], name="eval_predictions.jsonl")
    (folder / "eval.json").write_text(
        json.dumps({"config": {"model": str(folder / "model.safetensors"), "data": "test"}})
    )
    runs = read_runs(folder)
    assert [run.page.name for run in runs] == ["report.html", "eval_report.html"]
    assert runs[1].kind is EVALUATED
    assert "run on test" in text(write_run_page(runs[1]))
    assert read_run(folder).kind is TRAINED
    assert f"name {folder / 'eval_predictions.jsonl'} for the evaluation" in capsys.readouterr().err
    assert read_run(folder / "eval_predictions.jsonl").kind is EVALUATED


def test_what_is_no_run_or_damaged(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StillmotionError, match=r"holds no finished run; name a folder"):
        read_runs(tmp_path)
    for name, content, message in (
        ("metrics.jsonl", '{"step": 1}\n{', r"metrics\.jsonl is damaged in line 2"),
        ("config.json", "[]", r"config\.json holds no JSON object"),
        ("config.json", "{", r"cannot read .*config\.json"),
    ):
        before = (folder / name).read_text()
        (folder / name).write_text(content)
        with pytest.raises(StillmotionError, match=message):
            read_runs(folder)
        (folder / name).write_text(before)


def test_a_page_that_fails_says_why_and_ends_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_run_report(folder) == folder / "report.html"
    said = "writing the page, for which the worst mistakes are looked at once more"
    assert capsys.readouterr().err.strip() == said

    def failing(error: Exception) -> Callable[..., Any]:
        def raise_it(*_: object) -> Any:
            raise error

        return raise_it

    for error, line in (
        (StillmotionError("the disk is full"), "no page was written: the disk is full"),
        (
            KeyError("a bug"),
            f"no page was written (KeyError('a bug')); stillmotion report {folder} shows where it fails",
        ),
    ):
        monkeypatch.setattr(run_page, "confused", failing(error))
        assert write_run_report(folder) is None
        assert capsys.readouterr().err.strip() == f"{said}\n{line}"


def test_losses_are_means_of_epochs() -> None:
    lines = [{"step": i, "loss": float(i)} for i in range(6)]
    assert losses_by_epoch([*lines[:3], {"step": 3, "epoch": 1, "top1": 0.5}, *lines[3:]]) == [(1, 1.0), (2, 4.0)]
    assert losses_by_epoch(lines) == [(i + 1, float(i)) for i in range(6)]
    assert curves_figures({"a": [], "b": [{"step": 0, "lr": 0.1}]}) == []
    assert curves_figures({"a": [{"step": 3, "epoch": 1, "top1": 0.5}]}) == [], "a point is no curve"


def test_figures_are_in_the_ink_of_the_page() -> None:
    (figure,) = curves_figures({"a": [{"step": i, "loss": 1.0 / (i + 1)} for i in range(4)]})
    assert "currentColor" in figure
    assert "#010203" not in figure
    assert not re.search(r"fill: #(fff|000)|font-family|DejaVu|xmlns", figure)
    assert not re.search("width|height", figure.split(">", 1)[0]), "it takes the room that there is"
