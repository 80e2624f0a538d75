"""STEP: equal to self-attention over all tokens, a sense of order that lies in its positions, EVL's cache."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import StillmotionError
from stillmotion.methods import Step
from stillmotion.models.features import Reads, last_out
from stillmotion.models.video_clip import VideoCLIP
from tests.conftest import select, tiny_backbone
from tests.methods.frozen import assert_predicts_the_same, train_from_evls_cache


def probe(num_frames: int = 4) -> VideoCLIP:
    """A probe of a tiny CLIP in float64, away from the zeros that its biases start at."""
    torch.manual_seed(5)
    model = Step(num_frames=num_frames, heads=2).build(tiny_backbone(text=False), ["a", "b", "c"]).double().eval()
    with torch.no_grad():
        for parameter in model.temporal.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def plain_logits(model: VideoCLIP, tokens_BTLD: Tensor) -> Tensor:
    """The whole self-attention layer, every token a query, of which the class token's row is kept."""
    temporal, heads = model.temporal, 2
    B, T, L, D = tokens_BTLD.shape
    sequence = [torch.stack([temporal.cls_token] * B)]
    for t in range(T):
        sequence += [tokens_BTLD[:, t, i] + temporal.positions[t] for i in range(L)]
    x_BSD = torch.stack(sequence, dim=1)
    q, k, v = (
        proj(x_BSD).view(B, 1 + T * L, heads, D // heads).transpose(1, 2)
        for proj in (temporal.attn.q_proj, temporal.attn.k_proj, temporal.attn.v_proj)
    )
    read_BHSd = (q @ k.mT / (D // heads) ** 0.5).softmax(-1) @ v
    z_BSD = temporal.attn.out_proj(read_BHSd.transpose(1, 2).reshape(B, 1 + T * L, D))
    norm, _, linear = model.head
    return linear(F.layer_norm(z_BSD[:, 0], (D,), norm.weight, norm.bias))


def test_equals_full_self_attention_in_float64() -> None:
    model = probe()
    clip = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        tokens_BTLD = last_out(model.visual(clip))
    ours, plain = model.classify(clip), plain_logits(model, tokens_BTLD)
    assert (ours - plain).abs().max() <= 1e-10
    parameters = {n: p for n, p in model.named_parameters() if not n.startswith("visual.")}
    weights = torch.randn_like(ours)
    found = torch.autograd.grad(ours, list(parameters.values()), weights)
    expected = torch.autograd.grad(plain, list(parameters.values()), weights)
    for name, a, b in zip(parameters, found, expected):
        assert (a - b).abs().max() <= 1e-10 * max(1.0, b.abs().max().item()), name


def test_its_positions_and_nothing_else_see_the_order_of_frames() -> None:
    model = probe()
    clip = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert (model.classify(clip) - model.classify(clip.flip(1))).abs().max() > 1e-4
        model.temporal.positions.zero_()
        assert (model.classify(clip) - model.classify(clip.flip(1))).abs().max() <= 1e-10


def test_parameter_counts() -> None:
    """B/16, 8 frames, 400 classes: 2.678 M; without the head a third of a transformer block."""
    names = [str(i) for i in range(400)]
    with torch.device("meta"):
        model = Step().build(describe(CLIPConfig(text=None)), names)
    temporal = sum(p.numel() for p in model.temporal.parameters())
    assert temporal == (1 + 8) * 768 + 4 * (768**2 + 768) == 2_369_280
    assert temporal + sum(p.numel() for p in model.head.parameters()) == 2_678_416
    assert temporal / (12 * 768**2 + 13 * 768) == pytest.approx(1 / 3, abs=2e-3)


def test_the_gradient_reaches_what_tune_names() -> None:
    method = Step(num_frames=4, heads=2)
    model = method.build(tiny_backbone(text=False), ["a", "b", "c"])
    rules = select(model, method.tune())
    model.classify(torch.randn(2, 4, 3, 32, 32)).square().sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    assert reached == set(rules) == {n for n, _ in model.named_parameters() if not n.startswith("visual.")}
    zero = {n for n in reached if torch.count_nonzero(model.get_parameter(n).grad) == 0}
    assert zero == {"temporal.attn.k_proj.bias"}, "a softmax does not see it"


def test_how_it_starts() -> None:
    torch.manual_seed(0)
    config = tiny_backbone(text=False)
    quiet, loud = (Step(num_frames=64, heads=2, position_std=std).build(config, ["a"]).temporal for std in (0.02, 0.3))
    assert quiet.positions.detach().std() == pytest.approx(0.02, rel=0.1)
    assert loud.positions.detach().std() == pytest.approx(0.3, rel=0.1)
    assert 0.01 < quiet.cls_token.detach().std() < 0.03
    assert torch.count_nonzero(quiet.attn.k_proj.bias) == torch.count_nonzero(quiet.attn.out_proj.bias) == 0


def test_another_number_of_frames() -> None:
    model = Step(num_frames=4, heads=2).build(tiny_backbone(text=False), ["a", "b"]).eval()
    clip = torch.randn(1, 8, 3, 32, 32)
    with pytest.raises(StillmotionError, match=r"positions for 4 frames, the video has 8; .*resize_time\(8\)") as error:
        model.classify(clip)
    assert "\n" not in str(error.value)
    with torch.no_grad():
        model.temporal.positions.copy_(torch.arange(4.0)[:, None].expand(4, 64))
    model.temporal.resize_time(8)
    assert model.classify(clip).shape == (1, 2)
    assert torch.allclose(model.temporal.positions[:, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"position_std": -0.1}, r"position-std is -0\.1; it must be a finite number, at least 0"),
        ({"position_std": float("inf")}, "position-std is inf; it must be a finite number"),
        ({"dropout": 1.0}, r"dropout is 1\.0; it must be in \[0, 1\)"),
        ({"heads": 3}, "3 heads do not divide the probe's width 64; choose others with --heads"),
        ({"heads": 0}, "0 heads do not divide the probe's width 64"),
    ],
)
def test_bad_sizes(options: dict[str, float], message: str) -> None:
    with pytest.raises(StillmotionError, match=message):
        Step(**options).build(tiny_backbone(text=False), ["a"])


def test_trains_from_evls_cache_and_loads(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Step(num_frames=4, dropout=0.1)
    result = train_from_evls_cache(method, folder_of_videos, tiny_clip, tmp_path, monkeypatch)
    assert set(load_file(result.folder.model)) == {
        "head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias",
        "temporal.cls_token", "temporal.positions",
        *(f"temporal.attn.{p}_proj.{kind}" for p in ("q", "k", "v", "out") for kind in ("weight", "bias")),
    }  # fmt: skip
    assert_predicts_the_same(result, method)


def test_method_is_plain_data() -> None:
    assert Step(num_frames=8) == Step()
    assert Step().reads() == Reads(out=(-1,))
