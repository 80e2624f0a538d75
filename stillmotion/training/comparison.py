"""A loss over all clips of a step, whatever the forward passes and processes that they are shared out to.

Embeddings are computed without gradients, gathered, and compared; what the loss says of each is then carried back by a
second forward pass (GradCache, Gao et al. 2021, section 3.2). So a step has the gradients of one large batch at the
memory of one pass, and for twice the forward passes where there is more than one.
"""

import contextlib
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.func import functional_call

from stillmotion.data.dataset import Batch
from stillmotion.training.objective import Contrastive, plant
from stillmotion.training.shards import whole

UNCOUNTED = -1
"""Label of a clip that stands in for one that is not there."""


class Embeddings(nn.Module):
    """A model as what is compared: videos (B, E), prompts (B, E), and the parameters of the head that compares them."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, video: Any, prompts: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Normalized (B, T, 3, H, W) video or features, and token ids (B, S) or embeddings (B, E) of its prompts."""
        features = self.model.visual(video) if isinstance(video, Tensor) else video
        text = prompts if prompts.is_floating_point() else self.model.encode_text(prompts)
        # Part of every pass, because distributed training waits for the gradient of every parameter.
        return self.model.temporal(features), text, {name: p.clone() for name, p in trained(self.model.head)}


class Pass(NamedTuple):
    """A forward pass that waits for the others of its step."""

    views: Any
    prompts: Tensor
    labels: Tensor
    seed: int


class _Gradients(NamedTuple):
    videos: Tensor
    prompts: Tensor
    head: dict[str, Tensor]


class Comparison:
    """Holds the passes of a step until the last, then computes the loss of all and its gradients.

    Args:
        wrapped: `Embeddings` of the model, as Accelerate prepared it.
        embeddings: the same module itself.
    """

    def __init__(self, wrapped: nn.Module, embeddings: Embeddings, objective: Contrastive, accelerator: Accelerator):
        self.wrapped, self.embeddings = wrapped, embeddings
        self.objective, self.accelerator = objective, accelerator
        self._held: list[Pass] = []

    def add(self, batch: Batch, prompts: Tensor, seed: int, counts: bool) -> None:
        """Hold a pass; one that does not count takes part in what processes do together, and in nothing else."""
        labels = batch.labels if counts else torch.full_like(batch.labels, UNCOUNTED)
        self._held.append(Pass(batch.views, prompts, labels.to(self.accelerator.device), seed))

    def backward(self, clips: int) -> Tensor:
        """The loss over all clips of all processes, divided by `clips`; its gradients are added to the parameters."""
        passes, world = self._held, self.accelerator.num_processes
        alone = len(passes) == 1  # its own forward pass serves for both
        with contextlib.nullcontext() if alone else torch.no_grad():
            found = [self._embed(self.wrapped if alone else self.embeddings, one) for one in passes]
        loss, gradients = self._compare([one[:2] for one in found], torch.cat([one.labels for one in passes]), clips)
        sizes, first = [len(one.labels) for one in passes], 0
        for i, (one, size) in enumerate(zip(passes, sizes)):
            last, rows = i == len(passes) - 1, slice(first, first + size)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                videos, prompts, head = found[0] if alone else self._embed(self.wrapped, one)
                # Distributed training averages over processes: each has its own clips, and all have the same head.
                carried = world * (videos.float() * gradients.videos[rows]).sum()
                if prompts.requires_grad:
                    carried = carried + world * (prompts.float() * gradients.prompts[rows]).sum()
                for name, parameter in head.items():
                    carried = carried + (parameter * gradients.head[name]).sum() / len(passes)
                self.accelerator.backward(carried)
            first += size
        self._held = []
        return loss

    def _embed(self, module: nn.Module, one: Pass) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        device = self.accelerator.device
        plant(one.seed, device)  # the same dropout in both passes
        with self.accelerator.autocast():
            found: tuple[Tensor, Tensor, dict[str, Tensor]] = module(send_to_device(one.views, device), one.prompts)
        return found

    def _compare(self, found: list[tuple[Tensor, Tensor]], labels: Tensor, clips: int) -> tuple[Tensor, _Gradients]:
        """The loss over the clips of all processes, in float32; and its gradients, those of this process's clips."""
        mine = [torch.cat([one.detach().float() for one in kind]) for kind in zip(*found)]
        videos, prompts, everywhere = (
            self.accelerator.gather(self.accelerator.pad_across_processes(rows, pad_index=UNCOUNTED))
            for rows in (*mine, labels)
        )
        keep = everywhere != UNCOUNTED
        head = {name: whole(p.detach()).float().requires_grad_() for name, p in trained(self.embeddings.model.head)}
        leaves = [videos[keep].requires_grad_(), prompts[keep].requires_grad_()]
        if not keep.any():
            zeros = {name: torch.zeros_like(p) for name, p in head.items()}
            return torch.zeros((), device=labels.device), _Gradients(
                torch.zeros_like(mine[0]), torch.zeros_like(mine[1]), zeros
            )
        with torch.enable_grad():
            similarity = functional_call(self.embeddings.model.head, head, (*leaves, {}))
            expected = self.objective.compare(everywhere[keep])
            loss = self.objective.losses(similarity, expected).sum() / clips
            towers = torch.autograd.grad(loss, [*leaves, *head.values()], allow_unused=True, materialize_grads=True)
        start = self.accelerator.process_index * (len(everywhere) // self.accelerator.num_processes)
        own = slice(start, start + len(labels))
        back = [
            torch.zeros_like(rows).masked_scatter(keep[:, None], g)[own] for rows, g in zip((videos, prompts), towers)
        ]
        return loss.detach(), _Gradients(back[0], back[1], dict(zip(head, towers[2:])))


def trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters of a module that train, by name."""
    return [(name, p) for name, p in module.named_parameters() if p.requires_grad]
