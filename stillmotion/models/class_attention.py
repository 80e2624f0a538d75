"""Where the class token of each frame looks: block by block, and through all of them."""

from collections.abc import Callable

import torch
from torch import Tensor

Note = Callable[[int, Tensor, Tensor, Tensor | None], None]
"""What a tower's `observe` calls in every block, in order: its index and the unscaled queries, keys and values of its
attention, (B, T, H, L', d). Tokens are the frame's own L, class token first, then any that a method put behind them
(prompts, messages; these may have keys and no queries). Values are None where the tower does not give them."""


class ClassAttention:
    """A `Note` for one video (B = 1): keeps the class token's attention, and how it adds up over the blocks.

    After block i, row 0 of `flow` says which tokens of the frame the class token is made of, if residual and attention
    count half each and heads alike: R_i = (A_i + I) / 2 R_(i-1), A_i the mean of the heads (Abnar and Zuidema,
    *Quantifying Attention Flow in Transformers*, ACL 2020, "attention rollout"). Tokens of a method's own are no part
    of the flow: without them each row of A_i is scaled to one.

    Args:
        tokens: L, of the frame itself.
    """

    def __init__(self, tokens: int):
        self.tokens = tokens
        self.blocks: list[Tensor] = []
        """Of each block (H, T, L'): attention of the class token, summing to one over L'."""
        self.values: Tensor | None = None
        """Of the last block, (1, T, H, L', d)."""
        self._flow: list[Tensor] = []

    def __call__(self, block: int, q_BTHLd: Tensor, k_BTHLd: Tensor, v_BTHLd: Tensor | None) -> None:
        rows, flow, one = [], [], torch.eye(self.tokens, device=q_BTHLd.device)
        for t, (q_HLd, k_HLd) in enumerate(zip(q_BTHLd[0], k_BTHLd[0])):  # of one frame at a time: L x L is large
            scores_HLL = (q_HLd * q_HLd.shape[-1] ** -0.5) @ k_HLd.transpose(-2, -1)
            weights_HLL = scores_HLL.float().softmax(dim=-1)
            rows.append(weights_HLL[:, 0])
            mean_LL = weights_HLL.mean(dim=0)[: self.tokens, : self.tokens]
            step_LL = (mean_LL / mean_LL.sum(dim=-1, keepdim=True) + one) / 2
            flow.append(step_LL @ self._flow[t] if self._flow else step_LL)
        self.blocks.append(torch.stack(rows, dim=1))
        self.values, self._flow = v_BTHLd, flow

    @property
    def rollout(self) -> Tensor:
        """What the class token of each frame is made of behind the last block seen, (T, L), summing to one."""
        return torch.stack([flow_LL[0] for flow_LL in self._flow])
