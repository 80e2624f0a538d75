"""`Classifier.explain` on trained models: before and after tuning, the tower's own kinds, and what cannot be had."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import stillmotion
from stillmotion.backbones.load import load_backbone
from stillmotion.cli import main
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError
from stillmotion.experiment import fit
from stillmotion.explain import ROLLOUT, TOWER
from stillmotion.methods import EVL, LinearProbe, Method, ViFiCLIP
from stillmotion.models.features import FRAMES
from stillmotion.open_vocabulary import from_backbone
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from stillmotion.weights.readers import read_metadata

PROMPTS = {"vision_prompts": 2, "text_prompts": 2, "vision_depth": 2, "text_depth": 2}
CASES: dict[str, Method] = {
    "full": ViFiCLIP(num_frames=4),
    "text": ViFiCLIP(num_frames=4, tuned="text"),
    "prompts": ViFiCLIP(num_frames=4, tuned="prompts", **PROMPTS),
    "evl": EVL(num_frames=4, layers=2),
}


@pytest.fixture(scope="module")
def trained(folder_of_videos: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("explained")
    train = Train(lr=1e-2, epochs=2, batch_size=4, device="cpu", workers=0)
    for name, method in CASES.items():
        recipe = Recipe(method=method, train=train, backbone=str(tiny_clip))
        fit(recipe, Data(data=folder_of_videos), Place(out=root / name, cache=root / "cache"))
    return {name: root / name / "model.safetensors" for name in CASES}


@pytest.mark.parametrize("name", ["full", "prompts"])
def test_before_and_after_tuning(name: str, trained: dict[str, Path], tiny_clip: Path, video: Path) -> None:
    """Before is the backbone's own tower, by itself; after is another."""
    classifier = stillmotion.load(trained[name], device="cpu")
    found = classifier.explain(video)
    # A linear probe of the same backbone has its tower unchanged.
    plain = LinearProbe(num_frames=4).build(load_backbone(str(tiny_clip)).backbone, ["a"])
    state = {k: v for k, v in load_backbone(str(tiny_clip)).state.items() if k.startswith("visual.")}
    plain.load_state_dict(state, strict=False)
    own: Any = copy_with(classifier, plain.eval())
    expected = own.explain(video).maps
    for kind in (TOWER, ROLLOUT):
        before, after = found.maps[f"{kind} before tuning"], found.maps[kind]
        assert (before.weights - expected[kind].weights).abs().max() <= 1e-6
        assert before.about.endswith("before tuning")
        assert (before.weights - after.weights).abs().max() > 1e-5, "training moved it"
    assert not [n for n in found.missing if "before" in n]


def copy_with(classifier: Any, model: Any) -> Any:
    other = stillmotion.Classifier(
        model,
        preprocess=classifier.preprocess,
        sampling=classifier.sampling,
        num_frames=classifier.num_frames,
        classes=("a",),
        device="cpu",
    )
    assert other.untuned is None
    return other


@pytest.mark.parametrize("name", ["text", "evl"])
def test_a_tower_that_was_left_as_it_was(name: str, trained: dict[str, Path], video: Path) -> None:
    found = stillmotion.load(trained[name], device="cpu").explain(video)
    assert found.missing["tower before tuning"] == "this model left the image tower as it was"
    assert TOWER in found.maps


def test_the_weights_from_before_are_gone(
    trained: dict[str, Path], tiny_clip: Path, tmp_path: Path, folder_of_videos: Path, video: Path
) -> None:
    moved = shutil.copy(tiny_clip, tmp_path / "clip.safetensors")
    recipe = Recipe(
        method=CASES["full"],
        train=Train(lr=1e-3, epochs=1, batch_size=6, device="cpu", workers=0),
        backbone=str(moved),
    )
    model = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run")).folder.model
    (tmp_path / "clip.safetensors").unlink()
    found = stillmotion.load(model, device="cpu").explain(video)
    assert "tower before tuning" not in found.maps
    assert TOWER in found.maps
    why = found.missing["rollout before tuning"]
    assert why.startswith("the weights that it was trained from cannot be had: ")
    assert "\n" not in why
    # They may be named, as for the model itself, or lie beside it.
    again = stillmotion.load(model, backbone=str(tiny_clip), device="cpu").explain(video)
    assert "tower before tuning" in again.maps
    shutil.copy(tiny_clip, model.with_name("clip.safetensors"))
    assert "tower before tuning" in stillmotion.load(model, device="cpu").explain(video).maps


def test_it_is_of_one_view_and_of_the_asked_class(trained: dict[str, Path], video: Path) -> None:
    classifier = stillmotion.load(trained["full"], device="cpu")
    one = classifier.explain(video)
    assert one.prediction.scores == pytest.approx(classifier(video).scores, abs=1e-6)
    assert one.label == one.prediction.label
    assert f"class: {one.label}" in one.maps
    other = next(c for c in classifier.classes if c != one.label)
    asked = classifier.explain(video, [other])
    assert asked.label == other
    assert [n for n in asked.maps if n.startswith("class")] == [f"class: {other}"]
    assert (asked.frame_scores + one.frame_scores).tolist() == pytest.approx([1] * 4, abs=1e-5)
    with pytest.raises(StillmotionError, match="there is no class 'lefts'; did you mean 'left'"):
        classifier.explain(video, ["lefts"])
    wider = stillmotion.load(trained["full"], device="cpu")
    wider.sampling = stillmotion.data.sampling.Sampling(views=3, crops=3)
    assert wider.explain(video).frames.shape == (4, 3, 32, 32)


def test_other_classes_of_an_open_vocabulary(tiny_clip: Path, video: Path) -> None:
    classifier = from_backbone("zero_shot", ["surfing", "skiing"], backbone=str(tiny_clip), device="cpu")
    classifier.classes = ["a", "b", "c"]
    found = classifier.explain(video, ["c", "a"])
    assert {"class: c", "class: a"} <= set(found.maps)
    assert "class: b" not in found.maps
    # The differences from the mean class add up to nothing.
    every = classifier.explain(video, ["a", "b", "c"]).maps
    total = sum(every[f"class: {name}"].weights for name in "abc")
    assert total.abs().max() <= 1e-5
    assert found.missing["tower before tuning"].startswith("this model left the image tower as it was")


def test_the_tower_from_before_is_the_backbones(trained: dict[str, Path], tiny_clip: Path) -> None:
    tower, known = stillmotion.load(trained["full"], device="cpu").untuned()
    assert known
    state = load_backbone(str(tiny_clip)).state
    plain = load_backbone(str(tiny_clip)).backbone.visual(FRAMES)
    assert tower.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(v, state[f"visual.{k}"]) for k, v in tower.state_dict().items())


def another(folder: Path, tiny_clip: Path) -> Path:
    """A CLIP of the same names and shapes, whose image tower has other numbers."""
    state = load_file(tiny_clip)
    path = folder / "other.safetensors"
    save_file({k: v * 1.01 if k.startswith("visual.") else v for k, v in state.items()}, path, read_metadata(tiny_clip))
    return path


@pytest.mark.parametrize("name", ["full", "prompts"])
def test_another_backbone_of_the_same_size_is_refused(
    name: str, trained: dict[str, Path], tiny_clip: Path, video: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = another(tmp_path, tiny_clip)
    words = ["explain", str(trained[name]), str(video), "-o", str(tmp_path / "page.html"), "--device", "cpu"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--backbone", str(other)])
    said = capsys.readouterr().err.strip()
    assert end.value.code == 2 and said.count("\n") == 0 and not (tmp_path / "page.html").exists()
    assert str(other) in said and "pass" in said and "--backbone" in said
    same = tmp_path / "same.safetensors"
    shutil.copy(tiny_clip, same)
    main([*words, "--backbone", str(same)])
    assert "tuned from" not in capsys.readouterr().out


def test_weights_that_changed_where_they_lie_are_not_shown(
    trained: dict[str, Path], tiny_clip: Path, video: Path, tmp_path: Path
) -> None:
    """Nobody gave them, so that all else is shown."""
    other = another(tmp_path, tiny_clip)
    path = rewritten(trained["full"], tmp_path / "m.safetensors", lambda card: card | {"backbone_name": str(other)})
    found = stillmotion.load(path, device="cpu").explain(video)
    assert "tower before tuning" not in found.maps and TOWER in found.maps
    assert "is not the backbone that" in found.missing["tower before tuning"]


def test_an_older_file_does_not_say_what_it_was_tuned_from(
    trained: dict[str, Path], tiny_clip: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def older(card: dict[str, Any]) -> dict[str, Any]:
        assert set(card["tuned_from"]) == {"visual.", "text."}
        return {k: v for k, v in card.items() if k != "tuned_from"}

    path = rewritten(trained["full"], tmp_path / "m.safetensors", older)
    words = ["explain", str(path), str(video), "-o", str(tmp_path / "page.html"), "--device", "cpu"]
    main([*words, "--backbone", str(another(tmp_path, tiny_clip))])
    line = "before tuning if these are the weights it was tuned from, which the model's file does not say"
    assert line in capsys.readouterr().out.splitlines()
    assert line.replace("'", "&#39;") in (tmp_path / "page.html").read_text()


def rewritten(path: Path, out: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """A model whose card is another."""
    card = change(json.loads(read_metadata(path)["stillmotion"]))
    save_file(load_file(path), out, {"stillmotion": json.dumps(card)})
    return out


def test_an_unreadable_video(trained: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(stillmotion.errors.VideoError):
        stillmotion.load(trained["evl"], device="cpu").explain(tmp_path / "broken.mp4")


def test_whatever_a_classifier_takes(trained: dict[str, Path], video: Path) -> None:
    classifier = stillmotion.load(trained["evl"], device="cpu")
    expected = classifier.explain(video).maps
    for given in (stillmotion.open_video(video), video.read_bytes()):
        assert all(torch.equal(m.weights, expected[n].weights) for n, m in classifier.explain(given).maps.items())
