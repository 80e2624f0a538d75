"""The attentive probe: equal to a plain statement of its equations, blind to order, trained from EVL's cache."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import StillmotionError
from stillmotion.methods import AttentiveProbe
from stillmotion.methods.attentive_probe import AttentivePooler
from stillmotion.models.features import Reads, last_out
from stillmotion.models.layers import Block
from stillmotion.models.query_attention import QueryAttention
from stillmotion.models.video_clip import VideoCLIP
from tests.conftest import select, tiny_backbone
from tests.methods.frozen import assert_predicts_the_same, train_from_evls_cache


def probe(blocks: int = 1, num_frames: int = 4) -> VideoCLIP:
    """A probe of a tiny CLIP in float64, away from the zeros and ones that it starts at."""
    torch.manual_seed(blocks)
    method = AttentiveProbe(num_frames=num_frames, blocks=blocks, heads=2)
    model = method.build(tiny_backbone(text=False), ["a", "b", "c"]).double().eval()
    with torch.no_grad():
        for parameter in model.temporal.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def softmax_attention(q_BSD: Tensor, k_BSD: Tensor, v_BSD: Tensor, heads: int) -> Tensor:
    """Equation 1 of the transformer, one head after the other."""
    d = q_BSD.shape[-1] // heads
    read = []
    for h in range(heads):
        q, k, v = (x[..., h * d : (h + 1) * d] for x in (q_BSD, k_BSD, v_BSD))
        read.append((q @ k.mT / d**0.5).softmax(-1) @ v)
    return torch.cat(read, dim=-1)


def norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    spread = (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    return (x - x.mean(-1, keepdim=True)) / spread * layer.weight + layer.bias


def plain_block(block: Block, x_BSD: Tensor) -> Tensor:
    y_BSD = norm(x_BSD, block.ln_1)
    q, k, v = (y_BSD @ w.T + b for w, b in zip(block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)))
    x_BSD = x_BSD + block.attn.out_proj(softmax_attention(q, k, v, 2))
    return x_BSD + block.mlp.c_proj(F.gelu(block.mlp.c_fc(norm(x_BSD, block.ln_2))))


def plain_read(attn: QueryAttention, query_BD: Tensor, tokens_BSD: Tensor) -> Tensor:
    """Keys and values of every token."""
    q_BSD = attn.q_proj(query_BD)[:, None]
    return attn.out_proj(softmax_attention(q_BSD, attn.k_proj(tokens_BSD), attn.v_proj(tokens_BSD), 2))[:, 0]


def plain_logits(model: VideoCLIP, tokens_BTLD: Tensor) -> Tensor:
    pooler = model.temporal
    x = tokens_BTLD.flatten(1, 2)
    for block in pooler.blocks:
        x = plain_block(block, x)
    z = torch.stack([pooler.query] * len(x))
    z = z + plain_read(pooler.attn, z, norm(x, pooler.norm1))
    z = z + pooler.mlp[2](F.gelu(pooler.mlp[0](norm(z, pooler.norm2))))
    return model.head[2](norm(z, model.head[0]))


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_equals_the_plain_equations_in_float64(blocks: int) -> None:
    model = probe(blocks)
    clip = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        tokens_BTLD = last_out(model.visual(clip))
    ours, plain = model.classify(clip), plain_logits(model, tokens_BTLD)
    assert len(model.temporal.blocks) == blocks - 1
    assert (ours - plain).abs().max() <= 1e-10
    parameters = {n: p for n, p in model.named_parameters() if not n.startswith("visual.")}
    weights = torch.randn_like(ours)
    found = torch.autograd.grad(ours, list(parameters.values()), weights)
    expected = torch.autograd.grad(plain, list(parameters.values()), weights)
    for name, a, b in zip(parameters, found, expected):
        assert (a - b).abs().max() <= 1e-10 * max(1.0, b.abs().max().item()), name


@pytest.mark.parametrize("blocks", [1, 3])
def test_it_does_not_see_the_order_of_frames(blocks: int) -> None:
    model = probe(blocks)
    clip = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        logits = model.classify(clip)
        for order in ([3, 2, 1, 0], [2, 0, 3, 1]):
            assert (model.classify(clip[:, order]) - logits).abs().max() <= 1e-10
        other = clip.clone()
        other[:, 0] = 0
        assert (model.classify(other) - logits).abs().max() > 1e-4, "but it sees every frame"
        assert model.classify(clip[:, [0, 1, 2, 3, 3, 2, 1, 0]]).shape == (2, 3), "any number of frames will do"


def test_parameter_counts() -> None:
    """B/16, 8 frames, 400 classes: 7.398 M with one block, and 12 D^2 + 13 D for each further one."""
    names = [str(i) for i in range(400)]

    def count(blocks: int) -> int:
        with torch.device("meta"):
            model = AttentiveProbe(blocks=blocks).build(describe(CLIPConfig(text=None)), names)
        return sum(p.numel() for n, p in model.named_parameters() if not n.startswith("visual."))

    assert count(1) == 7_397_776
    assert count(4) == 7_397_776 + 3 * (12 * 768**2 + 13 * 768) == 28_661_392


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_gradient_reaches_what_tune_names(blocks: int) -> None:
    method = AttentiveProbe(num_frames=4, blocks=blocks, heads=2)
    model = method.build(tiny_backbone(text=False), ["a", "b", "c"])
    rules = select(model, method.tune())
    model.classify(torch.randn(2, 4, 3, 32, 32)).square().sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    assert reached == set(rules) == {n for n, _ in model.named_parameters() if not n.startswith("visual.")}
    zero = {n for n in reached if torch.count_nonzero(model.get_parameter(n).grad) == 0}
    assert zero == {"temporal.attn.k_proj.bias"}, "a softmax does not see it"


def test_it_starts_as_the_release_does() -> None:
    """Truncated normal of deviation 0.02; what ends a residual branch is smaller the deeper it lies."""
    torch.manual_seed(0)
    pooler = AttentivePooler(256, 4, 3, 1024).requires_grad_(False)
    pooler.initialize()
    for block, depth in zip(pooler.blocks, (1, 2)):
        assert block.attn.in_proj_weight.std() == pytest.approx(0.02, rel=0.02)
        assert block.mlp.c_fc.weight.std() == pytest.approx(0.02, rel=0.02)
        for last in (block.attn.out_proj, block.mlp.c_proj):
            assert last.weight.std() == pytest.approx(0.02 / (2 * depth) ** 0.5, rel=0.02)
    assert pooler.mlp[0].weight.std() == pytest.approx(0.02, rel=0.02)
    for last in (pooler.attn.out_proj, pooler.mlp[2]):
        assert last.weight.std() == pytest.approx(0.02 / 4**0.5, rel=0.02)
    assert 0.01 < pooler.query.std() < 0.03
    assert all(torch.count_nonzero(p) == 0 for n, p in pooler.named_parameters() if n.endswith("bias"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 0}, "blocks is 0; it must be at least 1"),
        ({"mlp_ratio": 0.0}, r"mlp-ratio is 0\.0; it must be above 0"),
        ({"dropout": 1.0}, r"dropout is 1\.0; it must be in \[0, 1\)"),
        ({"heads": 3}, "3 heads do not divide the probe's width 64; choose others with --heads"),
        ({"heads": 0}, "0 heads do not divide the probe's width 64"),
    ],
)
def test_bad_sizes(options: dict[str, float], message: str) -> None:
    with pytest.raises(StillmotionError, match=message):
        AttentiveProbe(**options).build(tiny_backbone(text=False), ["a"])


def test_trains_from_evls_cache_and_loads(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = AttentiveProbe(num_frames=4, blocks=2, dropout=0.1)
    result = train_from_evls_cache(method, folder_of_videos, tiny_clip, tmp_path, monkeypatch)
    saved = load_file(result.folder.model)
    assert {name.split(".")[0] for name in saved} == {"temporal", "head"}
    assert_predicts_the_same(result, method)


def test_method_is_plain_data() -> None:
    assert replace(AttentiveProbe(), blocks=4) == AttentiveProbe(blocks=4)
    assert AttentiveProbe().reads() == Reads(out=(-1,))
