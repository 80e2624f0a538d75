"""The main job, small: real files, real training, a page that needs nothing else. Its numbers are not judged here."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stillmotion.actors.render import PAIRS
from stillmotion.backbones.clip import VisionTransformer
from stillmotion.backbones.config import CLIPConfig, VisionConfig
from stillmotion.cli import main
from stillmotion.eval.report import read_predictions


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image tower of four tiny blocks, as EVL reads four."""
    torch.manual_seed(0)
    vision = VisionConfig(image_size=(32, 32), patch_size=8, width=64, layers=4, heads=1, mlp_width=64)
    state = VisionTransformer(CLIPConfig(embed_dim=32, vision=vision, text=None)).state_dict()
    path = tmp_path_factory.mktemp("clip") / "tower.safetensors"
    save_file({f"visual.{k}": v.contiguous() for k, v in state.items()}, path)
    return path


def run(out: Path, tower: Path) -> None:
    words = ["--out", out, "--backbone", tower, "--epochs", 1, "--train-actors", 2, "--test-actors", 2]
    main(["demo", *map(str, words), "--cache", str(out.parent / "cache")])


@pytest.fixture(scope="module")
def finished(tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "demo"
    run(out, tower)
    return out


def test_table_and_files(finished: Path, tower: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert [row["name"] for row in results["rows"]] == [
        "EVL, all temporal modules",
        "EVL, no temporal module",
        "linear probe on mean-pooled frames",
    ]
    for row in results["rows"]:
        assert 0 <= row["top1"] <= row["pairs"] <= 1
    # Run again: everything that is done is kept, and the table is printed.
    run(finished, tower)
    out, err = capsys.readouterr()
    assert "within reversed pairs" in out
    assert "rendering 40 clips" in err
    assert "training:" in err
    command = out.splitlines()[-1]
    assert (
        command
        == f"try it: stillmotion predict {finished / 'evl_all_temporal_modules' / 'model.safetensors'} my_video.mp4"
    )


def test_the_last_line_of_the_demo_works(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = next(finished.glob("videos-*/test/*/*.mp4"))
    main(["predict", str(finished / "evl_all_temporal_modules" / "model.safetensors"), str(clip), "--top", "3"])
    assert capsys.readouterr().out.count("%") == 3


def test_the_page_needs_nothing_else(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]{1,40})', page)
    assert sources
    assert all(s.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#")) for s in sources), sources
    rest = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", page)
    assert not re.search(r"https?:|<script|@import", rest)
    for word in (
        "EVL, all temporal modules",
        "Confusion",
        "Learning curves",
        "--init motion",
        "show attention",
        "torch 2",
    ):
        assert word in rest
    order = re.findall(r'text-anchor="end">(\w+)<title>', rest)
    assert order == [action for pair in PAIRS for action in pair], "partners are neighbors"


def test_the_page_shows_mistakes_and_every_pair(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    called = re.findall(r"<h3>(\w+), called <span[^>]*>(\w+)<", page)
    predictions = read_predictions(finished / "evl_all_temporal_modules" / "predictions.jsonl")
    best = predictions.probabilities.argmax(dim=1)
    wrong = int((best != predictions.labels).sum())
    assert len(called) == min(4, wrong) > 0
    assert all(truth != other for truth, other in called)
    assert f"{wrong} of 20 clips are called wrong" in page
    found = {predictions.classes[k] for k in predictions.labels[best == predictions.labels].tolist()}
    rightly = re.findall(r'class="yes">(\w+)</span>, rightly', page)
    assert len(rightly) == len({frozenset(p) for p in PAIRS for a in found if a in p})


def test_the_row_has_its_intervals(finished: Path) -> None:
    for row in json.loads((finished / "results.json").read_text())["rows"]:
        for name in ("top1", "pairs"):
            low, high = row[f"{name}_interval"]
            assert 0 <= low <= row[name] <= high <= 1
            assert high - low > 0.15, "of twenty clips"


def test_impossible_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--test-actors", "0"])
    assert stop.value.code == 2
    assert "test-actors is 0; it must be at least 1" in capsys.readouterr().err
