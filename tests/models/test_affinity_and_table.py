"""The fast forms equal plain statements of the equations, in float64, with gradients."""

import pytest
import torch
from torch import Tensor

from stillmotion.models.affinity import neighbor_affinity
from stillmotion.models.query_attention import QueryAttention
from stillmotion.models.relative_table import RelativeTable


def plain_offsets(grid: tuple[int, int]) -> Tensor:
    gh, gw = grid
    p = torch.arange(gh * gw)
    y, x = p // gw, p % gw
    return (y[:, None] - y[None] + gh - 1) * (2 * gw - 1) + x[:, None] - x[None] + gw - 1


def plain_affinity(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Directly from section 3.3: for each frame, softmax over the patches of the neighbor, then the mean of heads."""
    B, T, H, P, d = q.shape
    back, ahead = (torch.zeros(B, T - 1, P, P, dtype=q.dtype) for _ in range(2))
    for b in range(B):
        for t in range(T - 1):
            for h in range(H):
                back[b, t] += (q[b, t + 1, h] @ k[b, t, h].T / d**0.5).softmax(-1) / H
                ahead[b, t] += (q[b, t, h] @ k[b, t + 1, h].T / d**0.5).softmax(-1) / H
    return back, ahead


@pytest.mark.parametrize("grad", [False, True])
def test_affinity(grad: bool) -> None:
    q, k = torch.randn(2, 2, 4, 3, 6, 5, dtype=torch.float64)
    q.requires_grad_(grad)
    found, plain = neighbor_affinity(q, k).unbind(2), plain_affinity(q, k)
    for ours, theirs in zip(found, plain):
        assert ours.requires_grad is grad
        assert (ours - theirs).abs().max() <= 1e-12
    if grad:
        ours = torch.autograd.grad(sum(a.square().sum() for a in found), q)[0]
        theirs = torch.autograd.grad(sum(a.square().sum() for a in plain_affinity(q, k)), q)[0]
        assert (ours - theirs).abs().max() <= 1e-12


def test_affinity_of_half_precision_is_computed_in_float32() -> None:
    q, k = torch.randn(2, 1, 3, 2, 6, 8).half()
    exact = neighbor_affinity(q.double(), k.double())
    assert neighbor_affinity(q, k).dtype == torch.float32
    assert (neighbor_affinity(q, k) - exact).abs().max() < 1e-6


@pytest.mark.parametrize("grid", [(3, 4), (5, 9), (1, 1), (2, 7), (7, 7)])
@pytest.mark.parametrize("first", [0, 1])
def test_table_equals_the_gather(grid: tuple[int, int], first: int) -> None:
    P = grid[0] * grid[1]
    table = RelativeTable(grid)
    memory = torch.randn(2, 4, 1 + P, 8, dtype=torch.float64, requires_grad=True)
    attention = torch.randn(2, 3, P, P, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(table.size, 8, dtype=torch.float64, requires_grad=True)

    mixed = torch.einsum("btqr,qrd->btqd", attention, weights[plain_offsets(grid)])
    padded = torch.nn.functional.pad(mixed, (0, 0, 1, 0, first, 1 - first))
    plain = memory * 3 + padded
    fast = table.add_(memory * 3, first, attention, weights)
    assert (plain - fast).abs().max() <= 1e-12
    weight = torch.randn_like(plain)
    for ours, theirs in zip(
        torch.autograd.grad(fast, (memory, attention, weights), weight),
        torch.autograd.grad(plain, (memory, attention, weights), weight),
    ):
        assert (ours - theirs).abs().max() <= 1e-12


def test_table_size_is_that_of_the_release() -> None:
    assert RelativeTable((14, 14)).size == 729
    assert RelativeTable((16, 16)).size == 961
    assert RelativeTable((24, 24)).size == 2209


def test_frozen_attention_gets_no_gradient() -> None:
    table = RelativeTable((3, 4))
    attention = torch.rand(1, 2, 12, 12)
    weights = torch.randn(table.size, 8, requires_grad=True)
    table.add_(torch.zeros(1, 3, 13, 8), 1, attention, weights).sum().backward()
    assert attention.grad is None
    assert weights.grad.abs().sum() > 0


def plain_attention(module: QueryAttention, query: Tensor, tokens: Tensor) -> Tensor:
    """Project every token to a key and a value."""
    q = module.q_proj(query).unflatten(-1, (module.heads, -1)).unsqueeze(-2)
    k, v = (p(tokens).unflatten(-1, (module.heads, -1)).transpose(1, 2) for p in (module.k_proj, module.v_proj))
    weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
    return module.out_proj((weights @ v).squeeze(-2).flatten(1))


def test_query_attention_equals_projecting_every_token() -> None:
    module = QueryAttention(24, 3, 36).double()
    query = torch.randn(2, 24, dtype=torch.float64, requires_grad=True)
    tokens = torch.randn(2, 50, 24, dtype=torch.float64, requires_grad=True)
    fast, plain = module(query, tokens), plain_attention(module, query, tokens)
    assert (fast - plain).abs().max() <= 1e-12
    inputs = (query, tokens, *module.parameters())
    weight = torch.randn_like(fast)
    for ours, theirs in zip(torch.autograd.grad(fast, inputs, weight), torch.autograd.grad(plain, inputs, weight)):
        assert (ours - theirs).abs().max() <= 1e-12


def test_the_key_bias_gets_an_exact_zero() -> None:
    """Not None, or an optimizer would spare its decay; not rounding noise, or Adam would blow it up."""
    module = QueryAttention(16, 2)
    module(torch.randn(2, 16), torch.randn(2, 9, 16)).sum().backward()
    assert module.k_proj.bias.grad is not None
    assert torch.count_nonzero(module.k_proj.bias.grad) == 0


def test_attention_weights_sum_to_one() -> None:
    weights = QueryAttention(16, 2).weights(torch.randn(3, 16), torch.randn(3, 9, 16))
    assert weights.shape == (3, 2, 9)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2))
