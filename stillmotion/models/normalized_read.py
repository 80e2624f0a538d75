"""Attention of a few folded queries over the layer norm of very many tokens, which is never kept.

With mean m and deviation 1 / r of a token y, its layer norm is g (y - m) r + b. So the score of a folded query f is

    f . (g (y - m) r + b)  =  ((f g) . y  -  m sum(f g)) r  +  f . b,

whose last term is the same for all tokens and falls out of the softmax; and what attention a pools is

    sum a (g (y - m) r + b)  =  g (sum (a r) y  -  sum (a r) m)  +  b.

Tokens are read three times (moments, scores, pool) and once more backward for each product, in place of a normalized
copy that is written, read and differentiated. Derived from the definition of layer norm (Ba et al., 2016).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Moments(NamedTuple):
    """Of every token, (B, 1, S)."""

    mean: Tensor
    inverse: Tensor
    """One through the deviation."""


def read_normalized(folded_BHD: Tensor, tokens_BSD: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float) -> Tensor:
    """What the queries pool of the normalized tokens, (B, H, D).

    Args:
        folded_BHD: a query for each head, in the space of the tokens.
        tokens_BSD: as they are.
        weight_D: of the layer norm, like bias and eps.
    """
    pooled: Tensor = _Read.apply(folded_BHD, tokens_BSD, weight_D, bias_D, eps)
    return pooled


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, folded: Tensor, tokens: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        # The kernel of layer norm has both in a seventh of the time of `var_mean`; its output is let go.
        _, mean, inverse = torch.native_layer_norm(tokens, tokens.shape[-1:], None, None, eps)
        moments = Moments(mean.transpose(1, 2), inverse.transpose(1, 2))
        query = folded * weight
        products = query @ tokens.transpose(1, 2) - query.sum(-1, keepdim=True) * moments.mean
        attention = (products * moments.inverse).softmax(dim=-1)
        shares = attention * moments.inverse
        centred = shares @ tokens - (shares * moments.mean).sum(-1, keepdim=True)
        ctx.save_for_backward(folded, tokens, weight, *moments, products, attention, centred)
        return centred * weight + bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        folded, tokens, weight, mean, inverse, products, attention, centred = ctx.saved_tensors
        query, to_centred = folded * weight, grad * weight
        to_shares = to_centred @ tokens.transpose(1, 2) - to_centred.sum(-1, keepdim=True) * mean
        to_attention = to_shares * inverse
        to_scores = attention * (to_attention - (attention * to_attention).sum(-1, keepdim=True))
        to_products, shares = to_scores * inverse, attention * inverse
        to_query = to_products @ tokens - (to_products * mean).sum(-1, keepdim=True)
        to_tokens = None
        if ctx.needs_input_grad[1]:
            D = tokens.shape[-1]
            to_mean = -(shares * to_centred.sum(-1, keepdim=True) + to_products * query.sum(-1, keepdim=True)).sum(1)
            to_inverse = (to_shares * attention + to_scores * products).sum(1)
            # What a token has in its moments: d mean / d y = 1 / D, d inverse / d y = -(y - mean) inverse^3 / D.
            slope = (-to_inverse * inverse[:, 0] ** 3 / D)[..., None]
            level = (to_mean / D)[..., None] - slope * mean[:, 0, :, None]
            left = torch.cat([shares, to_products], dim=1).transpose(1, 2)
            to_tokens = torch.baddbmm(torch.addcmul(level, tokens, slope), left, torch.cat([to_centred, query], dim=1))
        to_weight = (grad * centred).sum((0, 1)) + (to_query * folded).sum((0, 1))
        return to_query * weight, to_tokens, to_weight, grad.sum((0, 1)), None
