"""Where the image tower is frozen, a text tower trains from cached frame embeddings, to what it becomes from videos."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stillmotion import source
from stillmotion.backbones.clip import VisionTransformer
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError
from stillmotion.experiment import fill_cache, fit
from stillmotion.methods import ViFiCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train

TRAIN = Train(lr=1e-4, epochs=2, batch_size=4, device="cpu", workers=0)
METHODS = {
    "text": ViFiCLIP(num_frames=2, tuned="text"),
    "prompts": ViFiCLIP(num_frames=2, tuned="prompts", text_prompts=3),
}
Run = tuple[list[float], Tensor, dict[str, Tensor]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many videos go through the image tower, each time."""
    found: list[int] = []
    forward = VisionTransformer.forward

    def counted(self: VisionTransformer, video: Tensor, *rest: Any) -> Any:
        found.append(len(video))
        return forward(self, video, *rest)

    monkeypatch.setattr(VisionTransformer, "forward", counted)
    return found


@pytest.fixture
def train(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> Callable[..., Run]:
    def run(name: str, where: str, **changes: Any) -> Run:
        recipe = replace(Recipe(method=METHODS[name], train=TRAIN, backbone=str(tiny_clip)), **changes)
        place = Place(out=tmp_path / where, cache=tmp_path / "cache")
        scores = fit(recipe, Data(data=folder_of_videos), place).scores
        lines = [json.loads(line) for line in (tmp_path / where / "metrics.jsonl").read_text().splitlines()]
        losses = [line["loss"] for line in lines if "loss" in line]
        return losses, scores.probabilities, load_file(tmp_path / where / "model.safetensors")

    return run


@pytest.mark.parametrize("name", METHODS)
def test_equal_to_the_pixel_path(
    name: str, train: Callable[..., Run], calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1e-5 where frame embeddings are rounded to the cache's float16 on the way; and close to it where not. From
    videos, too, the frames are those of the middle view, which the cache holds.
    """
    losses, scores, weights = train(name, "cached")
    assert sum(calls) - 2 == 12, "each clip once, whatever the epochs; and two blank ones, to time it"
    assert not any(tensor.startswith("visual.") for tensor in weights)
    monkeypatch.setattr(Recipe, "cached", False)
    monkeypatch.setattr(source, "Augment", lambda *how: None)
    exact_losses, exact_scores, exact_weights = train(name, "exact")
    forward = VisionTransformer.forward

    def rounded(self: VisionTransformer, video: Tensor, *rest: Any) -> Any:
        return {k: x.half().float() for k, x in forward(self, video, *rest).items()}

    monkeypatch.setattr(VisionTransformer, "forward", rounded)
    pixel_losses, pixel_scores, pixel_weights = train(name, "rounded")
    assert len(losses) == 6 and losses == pytest.approx(pixel_losses, abs=1e-5)
    assert (scores - pixel_scores).abs().max() <= 1e-5
    assert weights.keys() == pixel_weights.keys() == exact_weights.keys()
    assert losses == pytest.approx(exact_losses, abs=2e-3) and (scores - exact_scores).abs().max() <= 2e-3
    assert len(set(losses)) == 6, "it trains"


def test_what_is_random_is_read_from_videos(
    train: Callable[..., Run], calls: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    train("text", "augmented", augment="crop", flip=0.5)
    assert sum(calls) == 2 * (10 + 2), "every clip in every epoch"
    assert "--cached-views 4, to run it once" in capsys.readouterr().err
    calls.clear()
    train("text", "views", augment="crop", flip=0.5, cached_views=3)
    assert sum(calls) - 2 == 3 * 10 + 2, "three views of each training clip, and the others"


def test_which_variants_are_frozen(tiny_clip: Path, tmp_path: Path) -> None:
    assert {tuned: ViFiCLIP(tuned=tuned).frozen for tuned in ("full", "image", "text")} == {  # type: ignore[arg-type]
        "full": False, "image": False, "text": True,
    }  # fmt: skip
    assert ViFiCLIP(tuned="prompts", text_prompts=4).frozen
    assert not ViFiCLIP(tuned="prompts", text_prompts=4, vision_prompts=4).frozen
    recipe = Recipe(method=METHODS["text"], train=TRAIN, backbone=str(tiny_clip))
    assert recipe.cached and not replace(recipe, train=replace(TRAIN, mix=True)).cached
    assert not replace(recipe, method=ViFiCLIP(num_frames=2)).cached
    with pytest.raises(StillmotionError, match="nothing to keep: random views or mixing"):
        fill_cache(replace(recipe, flip=0.5), Data(data=tmp_path), name="vificlip")


def test_starts_from_a_trained_model(train: Callable[..., Run], folder_of_videos: Path, tmp_path: Path) -> None:
    """The second stage of bridge and prompt, with text prompts alone: the first stage's image tower fills the cache."""
    train("text", "first")
    recipe = Recipe(method=METHODS["prompts"], train=TRAIN)
    place = Place(out=tmp_path / "second", cache=tmp_path / "cache", start_from=tmp_path / "first/model.safetensors")
    result = fit(recipe, Data(data=folder_of_videos), place)
    assert torch.isfinite(result.scores.probabilities).all()
