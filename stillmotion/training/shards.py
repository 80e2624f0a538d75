"""A model whose weights, gradients and optimizer state lie in parts on several processes (FSDP2), and what is whole.

Accelerate's configuration asks for it (`accelerate config`, or `accelerate launch --use_fsdp --fsdp_version 2`).
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

M = TypeVar("M", bound=nn.Module)
BLOCKS = ("Block", "ResidualAttentionBlock")
"""Classes whose modules are gathered one after the other, where Accelerate is told to wrap transformer blocks."""


def shardable(model: M) -> M:
    """A model with vectors of one number for scalars, which PyTorch does not shard, and the names of its blocks where
    Accelerate looks for them.
    """
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if p.ndim == 0:
                setattr(module, name, nn.Parameter(p.detach().reshape(1), p.requires_grad))
    there = {type(module).__name__ for module in model.modules()}
    model._no_split_modules = [name for name in BLOCKS if name in there]  # type: ignore[assignment]
    return model


def whole(value: Any) -> Any:
    """A tensor that lies in parts as one that every process has; anything else as it is. All processes call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, model: Tensor) -> Tensor:
    """A whole tensor in the shape of `model`, and in parts if that is. All processes call it."""
    value = value.reshape(model.shape)
    if not isinstance(model, DTensor):
        return value
    return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)


@torch.no_grad()
def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Give a module the parameters and buffers that another has too, whichever of the two lies in parts.

    One may lack a frozen tower, whose outputs come from a cache.
    """
    own = target.state_dict()
    for name, value in source.state_dict().items():
        if name in own:
            own[name].copy_(like(whole(value), own[name]))


def optimizer_state(optimizer: Any) -> dict[str, Any]:
    """What `state_dict` gives, of whole tensors, so that any number of processes can go on from it."""
    state = optimizer.state_dict()
    moments = {i: {name: whole(value) for name, value in own.items()} for i, own in state["state"].items()}
    return {**state, "state": moments}


def load_optimizer_state(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Load what `optimizer_state` gave."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {
        i: {name: v if name == "step" else like(v, parameters[i]) for name, v in own.items()}
        for i, own in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})
