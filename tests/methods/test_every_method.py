"""What every method must do: train, save, load, predict the same, export, and meet another number of frames."""

import json
from pathlib import Path

import pytest
import torch

import stillmotion
from stillmotion.actors.render import ActorsSpec, render_actors
from stillmotion.checkpoint import load_model
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError
from stillmotion.experiment import fit
from stillmotion.methods import (
    A5,
    EVL,
    METHODS,
    XCLIP,
    ActionCLIP,
    AttentiveProbe,
    ChangeProbe,
    LinearProbe,
    Method,
    Step,
    ViFiCLIP,
    ZeroShot,
)
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from tests.conftest import select, tiny_backbone

PROMPTS = {"vision_prompts": 2, "text_prompts": 2, "vision_depth": 2, "text_depth": 2}
CASES: dict[str, Method] = {
    "linear_probe": LinearProbe(num_frames=4),
    "evl": EVL(num_frames=4, layers=2),
    "evl_frame_means": EVL(num_frames=4, layers=1, taps=(-2,), tokens="frame_means"),
    "attentive_probe": AttentiveProbe(num_frames=4, blocks=2),
    "step": Step(num_frames=4),
    "change_probe": ChangeProbe(num_frames=4, blocks=2),
    "vificlip": ViFiCLIP(num_frames=4),
    "vificlip_prompts": ViFiCLIP(num_frames=4, tuned="prompts", **PROMPTS),
    "xclip": XCLIP(num_frames=4),
    "actionclip": ActionCLIP(num_frames=4, layers=1),
    "actionclip_cls": ActionCLIP(num_frames=4, pool="Transf_cls", layers=1),
    "actionclip_lstm": ActionCLIP(num_frames=4, pool="LSTM"),
    "actionclip_conv": ActionCLIP(num_frames=4, pool="Conv_1D", shift=True),
    "a5": A5(num_frames=4),
    "a3": A5(num_frames=4, layers=0),
}
NAMES = ("walk left", "walk right")
# Models with learned frame positions; the others read any number of frames.
POSITIONS = {"evl", "evl_frame_means", "step", "xclip", "actionclip", "actionclip_cls", "a5"}


def test_the_cases_are_complete() -> None:
    assert {type(m) for m in CASES.values()} | {ZeroShot} == set(METHODS.values())


@pytest.fixture(scope="module")
def actors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ActorsSpec(train_actors=3, test_actors=1, actions=("walk_left", "walk_right"))
    return render_actors(tmp_path_factory.mktemp("actors"), spec, processes=1)


@pytest.fixture(scope="module", params=CASES)
def trained(
    request: pytest.FixtureRequest, actors: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A model of every method after two epochs on the actors."""
    name, method = request.param, CASES[request.param]
    out = tmp_path_factory.getbasetemp() / "every" / name
    train = Train(lr=1e-3, epochs=2, batch_size=3, device="cpu", workers=0)
    recipe = Recipe(method=method, train=train, backbone=str(tiny_clip))
    fit(recipe, Data(data=actors), Place(out=out, cache=out.parent / "cache"))
    return name, out


def test_trained_saved_loaded_and_the_same(trained: tuple[str, Path]) -> None:
    name, out = trained
    classifier = stillmotion.load(out / "model.safetensors", device="cpu")
    losses = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len([line for line in losses if "loss" in line]) == 4
    for line in (out / "predictions.jsonl").read_text().splitlines():
        expected = json.loads(line)
        scores = classifier(expected["path"]).scores
        # Cached features are float16, live ones are not.
        assert [scores[c] for c in classifier.classes] == pytest.approx(expected["probabilities"], abs=5e-3), name


def test_what_training_moved_is_what_the_method_names(trained: tuple[str, Path], tiny_clip: Path) -> None:
    """The parameters that differ from the start are those that `tune` names, and all of them."""
    name, out = trained
    after, card = load_model(out / "model.safetensors")
    again = Recipe(method=CASES[name], train=Train(seed=0), backbone=str(tiny_clip))
    from stillmotion.assemble import build
    from stillmotion.source import Caches

    before = build(again, Caches().weights(again), card.classes, place=Place(explain=True))  # with its tower
    moved = {k for k, p in after.named_parameters() if not torch.equal(p, dict(before.named_parameters())[k])}
    named = set(select(before, CASES[name].tune()))
    assert moved <= named
    # A softmax does not see what is added to all of its scores, so the bias of a single query's keys has no effect.
    assert all(name.endswith("k_proj.bias") for name in named - moved)


@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_exactly_what_trains(name: str) -> None:
    torch.manual_seed(0)
    method = CASES[name]
    model = method.build(tiny_backbone(), NAMES).train()
    rules = select(model, method.tune())
    clip = torch.randn(2, 4, 3, 32, 32)
    tokens = model.prompt(NAMES) if method.needs_text else None
    logits = model(clip, tokens[0] if tokens is not None and tokens.ndim == 3 else tokens)
    (logits * torch.randn_like(logits)).sum().backward()
    reached = {k for k, p in model.named_parameters() if p.grad is not None}
    assert reached == set(rules)


@pytest.mark.filterwarnings("ignore:The tensor attributes self.temporal.lstm_visual")  # PyTorch's own LSTM
@pytest.mark.parametrize("name", CASES)
def test_exports_with_a_dynamic_batch(name: str) -> None:
    torch.manual_seed(0)
    method = CASES[name]
    model = method.build(tiny_backbone(), NAMES).eval()
    text = None
    with torch.no_grad():
        if method.needs_text:
            text = model.encode_text(model.prompt(NAMES))
        shapes = {"video": {0: torch.export.Dim("batch")}, "tokens": None}
        exported = torch.export.export(model, (torch.randn(2, 4, 3, 32, 32), text), dynamic_shapes=shapes)
        clip = torch.randn(3, 4, 3, 32, 32)
        assert (exported.module()(clip, text) - model(clip, text)).abs().max() <= 1e-5


@pytest.mark.parametrize("name", CASES)
def test_another_number_of_frames(name: str) -> None:
    """It runs, or says in one line what to call."""
    torch.manual_seed(0)
    method = CASES[name]
    model = method.build(tiny_backbone(), NAMES).eval()
    clip = torch.randn(1, 6, 3, 32, 32)
    with torch.no_grad():
        text = model.encode_text(model.prompt(NAMES)) if method.needs_text else None
        if name in POSITIONS:
            with pytest.raises(StillmotionError, match=r"positions for 4 frames, the video has 6.*resize_time\(6\)"):
                model.classify(clip, text)
            model.temporal.resize_time(6)
        assert model.classify(clip, text).shape == (1, 2)
