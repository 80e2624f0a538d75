"""A0 to A7: equal to the release, frozen where it is, and sizes of one method."""

from typing import Any

import pytest
import torch
from torch import Tensor

import stillmotion
from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.methods import A5
from stillmotion.releases import a5
from tests.conftest import select, tiny_backbone
from tests.golden.recipe import clip_shapes, load, video, weight
from tests.methods.golden_clip import clip_state, close

GOLDEN = load("a5_tiny")
SHAPES = clip_shapes(width=64, layers=2, patch=16, grid=4, embed=512, text_width=512, text_layers=2)


@pytest.fixture(scope="module")
def clip() -> dict[str, Tensor]:
    return clip_state(GOLDEN["seed"], SHAPES)


def checkpoint(clip: dict[str, Tensor], kw: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The release's file; all of its models hold the tables, and a first block's shapes stand for the others."""
    layers = 0 if kw.get("temporal") == 0 else kw.get("layers", 2)
    shapes = {k: s for k, s in GOLDEN["shapes"].items() if "resblocks" not in k}
    for name, shape in GOLDEN["shapes"].items():
        if ".resblocks.0." in name:
            shapes |= {name.replace(".0.", f".{i}.", 1): shape for i in range(layers)}
    new = {k: weight(k, tuple(s), GOLDEN["seed"]) for k, s in shapes.items()}
    return {"state_dict": {f"clipmodel.{k}": v for k, v in clip.items()} | new}


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDEN["cases"])
def test_equals_the_release(clip: dict[str, Tensor], name: str) -> None:
    golden = GOLDEN["cases"][name]
    sizes = {k: v for k, v in golden["kw"].items() if k in ("prefix", "postfix")}
    model = stillmotion.from_official("a5", checkpoint(clip, golden["kw"]), **sizes)
    tokens = model.prompt(GOLDEN["class_names"])
    for row, expected in zip(tokens, golden["tokens"]):
        assert row[: len(expected)].tolist() == expected and not row[len(expected) :].any()
    frames = video((2, 16, 512), GOLDEN["seed"], "a5")  # the release reads frame features from disk
    features = {"frames": frames}
    with torch.no_grad():
        text, embedding = model.encode_text(tokens), model.temporal(features)
        close(embedding, golden["outputs"]["video"])
        close(text, golden["outputs"]["text"])
        logits = model.head(embedding, text, features)
    assert (logits - torch.tensor(golden["logits"])).abs().max() <= 1e-5


@pytest.mark.golden
@pytest.mark.parametrize("name", ["A5", "A3_no_temporal"])
def test_goes_back_to_the_release(clip: dict[str, Tensor], name: str) -> None:
    theirs = checkpoint(clip, GOLDEN["cases"][name]["kw"])["state_dict"]
    model = stillmotion.from_official("a5", theirs)
    written = a5.write(A5(layers=2 if name == "A5" else 0), model.state_dict())["state_dict"]
    unread = {"clipmodel.logit_scale"} | (set() if name == "A5" else {"temporalEmbedding.weight"})
    assert {k: v.shape for k, v in written.items()} == {k: v.shape for k, v in theirs.items()}
    assert all(torch.equal(written[k], theirs[k]) for k in theirs.keys() - unread)


@pytest.mark.parametrize(("layers", "count"), [(0, 39_424), (1, 3_200_000), (2, 6_352_384), (3, 9_504_768)])
def test_published_parameter_counts(layers: int, count: int) -> None:
    method = A5(layers=layers)
    with torch.device("meta"):
        model = method.build(describe(CLIPConfig()), ["a"])
    rules = select(model, method.tune())
    trained = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    assert set(trained) == set(rules) and sum(trained.values()) == count
    assert not any(n.startswith("visual.") for n in trained)


def test_clip_can_come_from_elsewhere(clip: dict[str, Tensor]) -> None:
    whole = checkpoint(clip, {})["state_dict"]
    own = {k: v for k, v in whole.items() if not k.startswith("clipmodel.")}
    assert stillmotion.from_official("a5", own, clip=clip).prompt(["run"]).shape == (1, 77)
    with pytest.raises(WeightsError, match="pass clip=, the OpenAI ViT-B/16 weights"):
        stillmotion.from_official("a5", own)
    with pytest.raises(WeightsError, match="not a checkpoint of A5's release"):
        stillmotion.from_official("a5", clip)


def test_a_word_with_id_0_stays_a_word() -> None:
    """An exclamation mark before another mark has id 0, as the slots have."""
    torch.manual_seed(0)
    model = A5(prefix=2, postfix=2).build(tiny_backbone(), ["a"]).eval()
    tokens = model.prompt(["hi!;)"])
    end = int(tokens.argmax())
    assert 0 in tokens[0, 3 : end - 2].tolist()
    embeddings = torch.randn(1, 77, 64)
    seen = model.text.stem(embeddings, tokens)
    kept = [0, *range(3, end - 2), end]
    assert torch.equal(seen[:, kept], embeddings[:, kept])
    slots = [1, 2, end - 2, end - 1]
    assert torch.equal(seen[0, slots], model.text.stem.weight[slots])


def test_attention_starts_as_pytorchs() -> None:
    block = A5(num_frames=2, layers=1).build(describe(CLIPConfig()), ["a"]).temporal.temporalModelling.resblocks[0]
    assert block.attn.in_proj_weight.abs().max() <= (6 / (4 * 512)) ** 0.5 + 1e-6  # Xavier of a (3D, D) matrix
    assert not block.attn.in_proj_bias.any() and not block.attn.out_proj.bias.any()


def test_names_that_do_not_fit_between_the_vectors_are_refused() -> None:
    model = A5(prefix=30, postfix=30).build(tiny_backbone(), ["a"])
    assert model.prompt(["one two three four five six"]).argmax() == 67
    with pytest.raises(StillmotionError, match="has 20 tokens, at most 15 fit between 30 and 30 learned vectors"):
        model.prompt(["run " * 20])


def test_another_number_of_frames_is_one_call_away() -> None:
    model = A5(num_frames=2).build(tiny_backbone(), ["a", "b"]).eval()
    text, clip = model.encode_text(model.prompt(["a", "b"])), torch.randn(1, 3, 3, 32, 32)
    with pytest.raises(StillmotionError, match=r"resize_time\(3\)"):
        model.classify(clip, text)
    model.temporal.resize_time(3)
    assert model.classify(clip, text).shape == (1, 2)


@pytest.mark.parametrize(("option", "value"), [("prefix", -1), ("layers", -1), ("temperature", 0.0)])
def test_bad_sizes_are_refused(option: str, value: float) -> None:
    with pytest.raises(StillmotionError, match=option):
        A5(**{option: value})
