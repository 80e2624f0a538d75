"""Bridge and prompt: stage 2 starts from the file of stage 1, which is not the way to resume."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import stillmotion
from stillmotion.backbones.load import load_backbone
from stillmotion.checkpoint import read_card
from stillmotion.cli import main
from tests.conftest import tiny_config


@pytest.fixture(scope="module")
def stage1(folder_of_videos: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViFi-CLIP of which only the image tower trained, so that its file needs CLIP's text tower besides."""
    out = tmp_path_factory.mktemp("stage1")
    train(out, "vificlip", folder_of_videos, "--backbone", tiny_clip, "--tuned", "image", "--lr", 0.001)
    return out / "model.safetensors"


def train(out: Path, recipe: str, data: Path, *more: object) -> None:
    words = ["--data", data, "--out", out, "--epochs", 6, "--num-frames", 2, "--device", "cpu", *more]
    main(["train", recipe, *map(str, words)])


PROMPTS = ("--tuned", "prompts", "--vision-prompts", 2, "--text-prompts", 2, "--vision-depth", 2, "--text-depth", 2)


def test_prompts_are_learned_on_the_fine_tuned_towers(stage1: Path, folder_of_videos: Path, tmp_path: Path) -> None:
    train(tmp_path / "s2", "vificlip", folder_of_videos, "--start-from", stage1, *PROMPTS, "--lr", 0.01)
    path = tmp_path / "s2" / "model.safetensors"
    card, kept = read_card(path), load_file(path)
    assert card.backbone_name == str(stage1)
    assert all("VPT" in k or "ctx" in k or k == "head.logit_scale" for k in kept), "only the prompts are stored"
    model = stillmotion.load(path, device="cpu").model
    first = stillmotion.load(stage1, device="cpu").model.state_dict()
    own = model.state_dict()
    assert all(torch.equal(own[k], v) for k, v in first.items()), "the towers are those of stage 1"
    before = json.loads((tmp_path / "s2" / "config.json").read_text())
    assert before["place"]["start_from"] == str(stage1)


def test_other_towers_than_those_of_stage_1_are_refused(stage1: Path, folder_of_videos: Path, tmp_path: Path) -> None:
    train(tmp_path / "s2", "vificlip", folder_of_videos, "--start-from", stage1, *PROMPTS)
    moved = load_file(stage1)
    moved["visual.proj"] += 1
    with stage1.open("rb") as file:
        original = file.read()
    from safetensors import safe_open

    with safe_open(stage1, framework="pt") as file:
        metadata = file.metadata()
    try:
        save_file(moved, stage1, metadata)
        with pytest.raises(stillmotion.StillmotionError, match="is not the backbone this model was trained on"):
            stillmotion.load(tmp_path / "s2" / "model.safetensors")
    finally:
        stage1.write_bytes(original)


def test_another_base_than_that_of_stage_1_is_refused(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stage 1 left the text tower out of its file; what lies there now must be what lay there then."""
    base = tmp_path / "clip.safetensors"
    base.write_bytes(tiny_clip.read_bytes())
    train(tmp_path / "s1", "vificlip", folder_of_videos, "--backbone", base, "--tuned", "image")
    first = tmp_path / "s1" / "model.safetensors"
    other = load_file(base)
    save_file({k: v + 1 if k == "text_projection" else v for k, v in other.items()}, base)
    with pytest.raises(SystemExit):
        train(tmp_path / "s2", "vificlip", folder_of_videos, "--start-from", first, *PROMPTS)
    assert "its text tower has hash" in capsys.readouterr().err
    base.unlink()
    train(tmp_path / "s3", "vificlip", folder_of_videos, "--start-from", first, *PROMPTS, "--backbone", tiny_clip)
    assert (tmp_path / "s3" / "model.safetensors").is_file(), "--backbone says where the base is now"


def test_a_changed_stage_1_is_another_run(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "s1", "vificlip", folder_of_videos, "--backbone", tiny_clip)
    first = tmp_path / "s1" / "model.safetensors"
    train(tmp_path / "s2", "vificlip", folder_of_videos, "--start-from", first, *PROMPTS)
    train(tmp_path / "s1", "vificlip", folder_of_videos, "--backbone", tiny_clip, "--lr", 0.01, "--overwrite")
    with pytest.raises(SystemExit):
        train(tmp_path / "s2", "vificlip", folder_of_videos, "--start-from", first, *PROMPTS)
    assert "; start was" in capsys.readouterr().err


def test_a_fine_tuned_backbone_can_be_started_from(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--layers", 2, "--backbone-rate", 0.1)
    train(tmp_path / "a", "evl", folder_of_videos, "--backbone", tiny_clip, *options)
    first = tmp_path / "a" / "model.safetensors"
    train(tmp_path / "b", "evl", folder_of_videos, "--start-from", first, "--layers", 2)
    towers = [stillmotion.load(tmp_path / n / "model.safetensors").model.visual.state_dict() for n in "ab"]
    assert all(torch.equal(towers[0][k], towers[1][k]) for k in towers[0])
    train(tmp_path / "c", "step", folder_of_videos, "--start-from", first)
    assert "left out: head.0, head.2" in capsys.readouterr().err.replace("head.1, ", ""), (
        "of another method: CLIP alone"
    )


@pytest.mark.parametrize("text", ["no json", "[1]", '{"format": "stillmotion/9"}', '{"format": "stillmotion/1"}'])
def test_damaged_descriptions_are_one_line(
    text: str, folder_of_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"head.2.weight": torch.zeros(2, 2)}, path, {"stillmotion": text})
    for words in (["--start-from", path], ["--backbone", path]):
        with pytest.raises(SystemExit) as stop:
            train(tmp_path / "x", "evl", folder_of_videos, *words)
        error = capsys.readouterr().err
        assert stop.value.code == 2 and "m.safetensors" in error and "Traceback" not in error
    with pytest.raises(stillmotion.StillmotionError, match=r"m\.safetensors"):
        read_card(path)


def test_a_trained_file_is_clip_weights_too(stage1: Path, tiny_clip: Path) -> None:
    weights, base = load_backbone(str(stage1)), load_backbone(str(tiny_clip))
    assert weights.fingerprint("text.") == base.fingerprint("text.")
    assert weights.fingerprint("visual.") != base.fingerprint("visual.")
    assert weights.backbone == base.backbone


def test_the_same_method_goes_on_with_all_that_it_learned(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a first data set to a second: integration and prompts are taken over; a head of other classes is not."""
    from stillmotion.assemble import build
    from stillmotion.methods import EVL
    from stillmotion.recipes.base import Place, Recipe
    from stillmotion.source import Caches
    from stillmotion.training.config import Train

    train(tmp_path / "a", "evl", folder_of_videos, "--backbone", tiny_clip, "--layers", 2, "--lr", 0.01)
    path = tmp_path / "a" / "model.safetensors"
    assert read_card(path).classes == ("left", "right")
    recipe = Recipe(method=EVL(num_frames=2, layers=2), train=Train())
    model = build(recipe, Caches().weights(recipe, path), ("a", "b", "c"), place=Place(start_from=path))
    kept, own = load_file(path), model.state_dict()
    same = {k for k in kept if k in own and kept[k].shape == own[k].shape and torch.equal(kept[k], own[k])}
    assert {k for k in set(kept) - same if not k.startswith("head.")} == set(), "all but the head of other classes"
    assert "new: head.0, head.2" in capsys.readouterr().err
    assert tiny_config().vision.layers == 3


def test_start_from_something_else(folder_of_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        train(tmp_path / "x", "evl", folder_of_videos, "--start-from", tmp_path / "none.safetensors")
    assert stop.value.code == 2 and "none.safetensors" in capsys.readouterr().err


def test_explain_says_what_trains_and_what_is_frozen(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "x", "vificlip", folder_of_videos, "--backbone", tiny_clip, *PROMPTS, "--explain", "--lr", 0.01)
    said = {line.split()[0]: line for line in capsys.readouterr().err.splitlines() if "tensors:" in line}
    assert said["visual"].endswith("frozen") and said["text"].endswith("frozen")
    assert "lr 0.01, weight decay 0.001" in said["visual.stem"]
    assert "128 parameters in   1 tensors" in said["visual.stem"].replace(",", "", 0)
