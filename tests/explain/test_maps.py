"""Every map against an independent computation on a tiny CLIP: explicit softmaxes, direct products, plain forwards."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.data.transforms import Preprocess
from stillmotion.errors import StillmotionError
from stillmotion.explain import QUERY, ROLLOUT, TOWER, Asked, Explanation, explain
from stillmotion.libraries.models import ForeignVideo
from stillmotion.methods import (
    A5,
    EVL,
    XCLIP,
    ActionCLIP,
    AttentiveProbe,
    LinearProbe,
    Method,
    Step,
    ViFiCLIP,
    ZeroShot,
)
from stillmotion.models.features import last_out
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.prediction import Prediction
from tests.conftest import tiny_backbone

NAMES = ("walk left", "walk right", "sit down")
PROMPTS = ViFiCLIP(
    num_frames=3, tuned="prompts", vision_prompts=2, text_prompts=2, vision_depth=2, text_depth=2, faithful=False
)
CASES: dict[str, Method] = {
    "zero_shot": ZeroShot(num_frames=3),
    "vificlip": ViFiCLIP(num_frames=3),
    "prompts": PROMPTS,
    "xclip": XCLIP(num_frames=3),
    "actionclip": ActionCLIP(num_frames=3, layers=1),
    "actionclip_shift": ActionCLIP(num_frames=3, pool="meanP", shift=True),
    "a5": A5(num_frames=3),
    "linear_probe": LinearProbe(num_frames=3),
    "step": Step(num_frames=3, heads=2),
    "attentive_probe": AttentiveProbe(num_frames=3, heads=2, blocks=2),
    "evl": EVL(num_frames=3, layers=2, heads=2, init="motion"),
}
QUERIES = ("step", "attentive_probe", "evl")
OPEN = ("zero_shot", "vificlip", "prompts", "xclip", "actionclip", "actionclip_shift", "a5")
P = 16  # patches, four by four


@dataclass
class Case:
    """A model of random weights, in which nothing stays at zero, one video, and what it explains."""

    model: VideoCLIP
    video: Tensor
    text: Tensor | None
    explanation: Explanation
    seen: dict[str, Any] = field(default_factory=dict)


def case(method: Method, names: tuple[str, ...] = NAMES, shown: tuple[str, ...] = NAMES[1:]) -> Case:
    torch.manual_seed(1)
    model: Any = method.build(tiny_backbone(), list(names)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        video = torch.randn(1, 3, 3, 32, 32)
        text = model.encode_text(model.prompt(list(names))) if method.needs_text else None
    prediction = Prediction(names[0], 1.0, dict.fromkeys(names, 1 / len(names)))
    asked = Asked(names, text, shown)
    return Case(model, video, text, explain(model, video, asked, prediction, Preprocess(size=(32, 32))))


def blocks_seen(found: Case) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each block in a forward of the model's own: the normed tokens, and what its heads gave before `out_proj`."""
    seen: list[list[Tensor]] = []
    hooks = []
    for block in found.model.visual.transformer.resblocks:
        seen.append([])
        hooks.append(block.ln_1.register_forward_hook(lambda m, i, out, s=seen[-1]: s.append(out)))
        hooks.append(block.attn.out_proj.register_forward_hook(lambda m, i, out, s=seen[-1]: s.append(i[0])))
    with torch.no_grad():
        found.model.visual(found.video)
    for hook in hooks:
        hook.remove()
    return [(normed, read, block.attn) for (normed, read), block in zip(seen, found.model.visual.transformer.resblocks)]


def explicit(attn: nn.Module, normed_LD: Tensor) -> tuple[Tensor, Tensor]:
    """All weights (H, L, L) and values (H, L, d) of one frame, head by head, as the equation says it."""
    D, H = normed_LD.shape[-1], attn.heads
    weights, values = [], []
    for h in range(H):
        rows = slice(h * D // H, (h + 1) * D // H)
        q, k, v = (
            normed_LD @ attn.in_proj_weight[part * D : (part + 1) * D][rows].T
            + attn.in_proj_bias[part * D : (part + 1) * D][rows]
            for part in range(3)
        )
        scores = torch.stack([(k * q[i]).sum(-1) for i in range(len(q))]) / (D // H) ** 0.5
        weights.append(scores.exp() / scores.exp().sum(-1, keepdim=True))
        values.append(v)
    return torch.stack(weights), torch.stack(values)


@pytest.mark.parametrize("name", CASES)
def test_class_token_attention_is_what_the_model_computes(name: str) -> None:
    found = case(CASES[name])
    shown = found.explanation.maps[TOWER]
    assert shown.weights.shape == (3, 4, 4)
    assert shown.heads.shape == (3, 2, 3, 4, 4)
    with torch.no_grad():
        for layer, (normed, read, attn) in enumerate(blocks_seen(found)):
            for t in range(3):
                weights_HLL, values_HLd = explicit(attn, normed[0, t])
                rows = weights_HLL[:, 0]
                assert (shown.heads[layer, :, t].flatten(1) - rows[:, 1 : 1 + P]).abs().max() <= 1e-6
                # The same weights make what the model's own attention gives its class token.
                made = torch.cat([w @ v for w, v in zip(rows, values_HLd)])
                assert (made - read[0, t, 0]).abs().max() <= 1e-5
    last = shown.heads[-1].mean(dim=0)
    assert (shown.weights - last).abs().max() <= 1e-7
    assert (shown.weights.sum((1, 2)) + shown.rest).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert shown.weights.std() > 1e-3, "it is not uniform"


@pytest.mark.parametrize("name", ["linear_probe", "prompts", "xclip"])
def test_rollout_is_the_product_of_its_definition(name: str) -> None:
    """Tokens that a method adds are no part of it."""
    found = case(CASES[name])
    shown = found.explanation.maps[ROLLOUT]
    with torch.no_grad():
        for t in range(3):
            product = torch.eye(1 + P)
            for normed, _, attn in blocks_seen(found):
                mean = explicit(attn, normed[0, t])[0].mean(0)[: 1 + P, : 1 + P]
                product = (0.5 * mean / mean.sum(-1, keepdim=True) + 0.5 * torch.eye(1 + P)) @ product
            assert (shown.weights[t].flatten() - product[0, 1:]).abs().max() <= 1e-6
            assert shown.rest[t] == pytest.approx(float(product[0, 0]), abs=1e-6)
    assert (shown.weights.sum((1, 2)) + shown.rest).tolist() == pytest.approx([1, 1, 1], abs=1e-6)


@pytest.mark.parametrize("name", QUERIES)
def test_the_query_reads_what_its_map_says(name: str) -> None:
    """Its weights times explicit values, through the output projection, are what its attention gave in the forward."""
    found = case(CASES[name])
    temporal, calls = found.model.temporal, []
    attns = [layer.attn for layer in temporal.layers] if name == "evl" else [temporal.attn]
    hooks = [a.register_forward_hook(lambda m, inputs, out: calls.append((*inputs, out))) for a in attns]
    with torch.no_grad():
        features = found.model.visual(found.video)
        temporal(features)
        weights_MHTL = temporal.attention(features)[0]
    for hook in hooks:
        hook.remove()
    shown = found.explanation.maps[QUERY]
    assert shown.heads.shape == (len(attns), 2, 3, 4, 4)
    assert (shown.heads.flatten(3) - weights_MHTL[..., 1:]).abs().max() <= 1e-7
    assert (shown.weights - shown.heads.mean((0, 1))).abs().max() <= 1e-7
    for m, (attn, (_, tokens, out)) in enumerate(zip(attns, calls)):
        own = tokens.shape[1] - 3 * 17  # STEP's query also reads itself
        weights_HS = weights_MHTL[m].flatten(1)
        weights_HS = torch.cat([1 - weights_HS.sum(-1, keepdim=True), weights_HS], dim=1) if own else weights_HS
        assert weights_HS.sum(-1).tolist() == pytest.approx([1, 1], abs=1e-6)
        values_HSd = attn.v_proj(tokens[0]).unflatten(-1, (2, -1)).transpose(0, 1)
        made = attn.out_proj((weights_HS[:, None] @ values_HSd)[:, 0].flatten())
        assert (made - out[0]).abs().max() <= 1e-5
    assert float(shown.rest) == pytest.approx(1 - float(shown.weights.sum()), abs=1e-6)
    assert shown.sums == "video"


@pytest.mark.parametrize("name", OPEN)
def test_patches_are_compared_with_class_names(name: str) -> None:
    """A patch is what the class token would be if it looked at that patch alone and had no past of its own."""
    found = case(CASES[name])
    normed, _, attn = blocks_seen(found)[-1]
    visual, (names, cosines) = found.model.visual, (NAMES, torch.zeros(3, P, 3))
    with torch.no_grad():
        text = found.model.head.compared(found.text, visual(found.video)).view(3, -1)
        assert text.norm(dim=-1).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
        for t in range(3):
            values_HLd = explicit(attn, normed[0, t])[1]
            for p in range(P):
                token = attn.out_proj(values_HLd[:, 1 + p].flatten())
                joint = visual.ln_post(token) @ visual.proj
                cosines[t, p] = F.cosine_similarity(joint[None], text)
    expected = cosines - cosines.mean(-1, keepdim=True)
    for k, label in enumerate(names):
        if label in (NAMES[1], NAMES[2]):
            shown = found.explanation.maps[f"class: {label}"]
            assert (shown.weights.flatten(1) - expected[..., k]).abs().max() <= 1e-5
            assert shown.weights.std() > 1e-3
        else:
            assert f"class: {label}" not in found.explanation.maps, "it was not asked for"


@pytest.mark.parametrize("name", OPEN)
def test_the_heads_compare_with_what_they_say(name: str) -> None:
    """The best class of the logits is the one whose embedding is nearest, where no template has a vote of its own."""
    found = case(CASES[name])
    with torch.no_grad():
        features = found.model.visual(found.video)
        video = F.normalize(found.model.temporal(features), dim=-1)
        cosines = video @ found.model.head.compared(found.text, features).view(3, -1).T
        logits = found.model.classify(features, found.text)
    if name.startswith("actionclip"):
        assert found.text.ndim == 3
        logits = (video @ F.normalize(F.normalize(found.text, dim=-1).mean(0), dim=-1).T) * found.model.head.scale
    assert (logits - cosines * found.model.head.scale).abs().max() <= 1e-4


def test_one_class_has_nothing_to_be_compared_with() -> None:
    found = case(CASES["vificlip"], names=("surfing",), shown=("surfing",)).explanation
    assert found.maps["class: surfing"].about == "each patch's cosine with the class name"
    assert found.maps["class: surfing"].weights.abs().max() > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_each_frame_alone_is_a_video_of_that_frame(name: str) -> None:
    found = case(CASES[name])
    with torch.no_grad():
        for t in range(3):
            still = found.video[:, [t, t, t]]
            expected = found.model.classify(still, found.text).softmax(-1)[0, 1]
            assert float(found.explanation.frame_scores[t]) == pytest.approx(float(expected), abs=1e-5)
    assert found.explanation.label == NAMES[1]


def test_the_score_of_a_frame_is_its_own() -> None:
    """Frames that mix in the tower cannot be told apart by its outputs."""
    for name, mixes in {"vificlip": False, "prompts": False, "xclip": True, "actionclip_shift": True}.items():
        assert case(CASES[name]).model.visual.by_frame is not mixes


def test_what_a_model_lacks_is_named() -> None:
    found = case(CASES["linear_probe"]).explanation
    assert set(found.maps) == {TOWER, ROLLOUT}
    assert set(found.missing) == {QUERY, "class names", "tower before tuning", "rollout before tuning"}
    assert found.missing[QUERY] == "this model has no query that reads patches"
    assert "knows its classes by number" in found.missing["class names"]
    assert len(found.not_shown) == 3
    assert found.not_shown[-1].startswith(
        "tower before tuning, rollout before tuning: this model is not from a trained"
    )


@pytest.mark.parametrize("tokens", ["class_tokens", "frame_means", "time_means"])
def test_a_query_over_averages_has_no_map(tokens: Any) -> None:
    found = case(EVL(num_frames=3, layers=1, heads=2, tokens=tokens)).explanation
    assert found.missing[QUERY] == "this model reads averages of tokens, not single patches"


class Foreign(ForeignVideo):
    """Of each video the brightness, as two logits."""

    def classify(self, video: Tensor, text: Tensor | None = None) -> Tensor:
        mean = video.mean(dim=(1, 2, 3, 4))
        return torch.stack([mean, -mean], dim=-1)


def test_a_model_of_another_library_scores_frames_alone() -> None:
    video = torch.randn(1, 4, 3, 8, 8)
    asked, prediction = Asked(("bright", "dark"), None, ("dark",)), Prediction("dark", 1.0, {"dark": 1.0})
    found = explain(Foreign(nn.Identity()), video, asked, prediction, Preprocess(size=(8, 8)))
    assert not found.maps
    assert found.not_shown == ["tower, rollout, query: a model of another library, which is not looked into"]
    expected = [float(torch.sigmoid(-2 * frame.mean())) for frame in video[0]]
    assert found.frame_scores.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bgr", [False, True])
def test_frames_are_the_pixels_that_were_read(bgr: bool) -> None:
    preprocess = Preprocess(size=(32, 32), bgr=bgr)
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    asked, prediction = Asked(("a", "b"), None, ("a",)), Prediction("a", 1.0, {"a": 1.0})
    found = explain(Foreign(nn.Identity()), preprocess(pixels), asked, prediction, preprocess)
    assert (found.frames - pixels / 255).abs().max() <= 1e-6
    assert 0 <= found.frames.min() <= found.frames.max() <= 1


def test_unknown_classes_are_refused() -> None:
    with pytest.raises(StillmotionError, match="there is no class 'walk lef'; did you mean 'walk left'"):
        Asked(NAMES, None, ("walk lef",))


def test_attention_of_the_probe_follows_its_tokens() -> None:
    """A token that is made to stand out draws the query to its place, in time and in space."""
    found = case(CASES["attentive_probe"])
    temporal = found.model.temporal
    with torch.no_grad():
        features = found.model.visual(found.video)
        place = last_out(features)[0, 1, 5]
        wanted = temporal.norm1(place)
        temporal.blocks = nn.ModuleList()
        temporal.attn.k_proj.weight.copy_(10 * torch.eye(64))
        temporal.attn.q_proj.weight.zero_()
        temporal.attn.q_proj.bias.copy_(wanted)
        weights = temporal.attention(features)[0, 0].mean(0)
    assert divmod(int(weights.argmax()), 17) == (1, 5)
