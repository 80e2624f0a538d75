"""Reading a layer norm that is never written down: the plain form's values and every gradient, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.models.layers import LayerNorm
from stillmotion.models.normalized_read import read_normalized
from stillmotion.models.query_attention import QueryAttention


def plain(folded: Tensor, tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    normal = F.layer_norm(tokens, tokens.shape[-1:], weight, bias, 1e-5)
    return (folded @ normal.transpose(1, 2)).softmax(-1) @ normal


def inputs(seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    folded, tokens = torch.randn(2, 3, 8, dtype=torch.float64), 2 * torch.randn(2, 5, 8, dtype=torch.float64) + 1
    tokens[:, 1] *= 30  # as CLIP's registers
    weight, bias = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    return [tensor.requires_grad_() for tensor in (folded, tokens, weight, bias)]


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_plain_form(seed: int) -> None:
    given = inputs(seed)
    fast, slow = read_normalized(*given, 1e-5), plain(*given)
    assert (fast - slow).abs().max() <= 1e-12
    weights = torch.randn_like(slow)
    ours, theirs = torch.autograd.grad(fast, given, weights), torch.autograd.grad(slow, given, weights)
    for name, a, b in zip(("query", "tokens", "weight", "bias"), ours, theirs):
        assert (a - b).abs().max() <= 1e-11 * max(1.0, float(b.abs().max())), name


def test_gradients_by_differences() -> None:
    assert torch.autograd.gradcheck(lambda *given: read_normalized(*given, 1e-5), inputs(3))


def test_tokens_that_need_no_gradient() -> None:
    folded, tokens, weight, bias = inputs(4)
    fast = read_normalized(folded, tokens.detach(), weight, bias, 1e-5)
    (ours,) = torch.autograd.grad(fast.sum(), [folded])
    (theirs,) = torch.autograd.grad(plain(folded, tokens, weight, bias).sum(), [folded])
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_one_layer_reads_both_ways_alike() -> None:
    """Under autocast, when compiled and on a GPU the norm is computed first."""
    torch.manual_seed(0)
    attention, norm = QueryAttention(64, 2).double(), LayerNorm(64).double()
    torch.nn.init.normal_(norm.weight)
    query, tokens = torch.randn(3, 64, dtype=torch.float64), torch.randn(3, 40, 64, dtype=torch.float64)
    assert (attention.read(query, tokens, norm) - attention(query, norm(tokens))).abs().max() <= 1e-13
