"""OpenVINO on a CPU: weights in 8-bit integers, activations rounded on the way in groups of channels of a token.

A group has a step of its own, so that a channel with very large values takes nothing from the channels of other groups.
Static steps, as post-training quantization finds them on examples, destroy the tokens of a real CLIP (frame cosine .3).
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from stillmotion.backbones.runtimes.integers import LEAST
from stillmotion.errors import StillmotionError, missing, one_line
from stillmotion.models.features import Features

GROUP = 64
"""Channels of one step: with twice as many, frames of real clips are too far from float32; with half it is slower."""


def there() -> bool:
    """Whether its package is installed."""
    return find_spec("openvino") is not None


def in_openvino(tower: nn.Module, device: torch.device) -> Callable[[Tensor], Features]:
    """A maker of runtimes; a graph is compiled for each shape of videos, when the first of it comes.
    Raises `StillmotionError`: the device is not a CPU, or the package is not installed.
    """
    if device.type != "cpu":
        raise StillmotionError(f"the runtime openvino is for a CPU, this is {device.type}; pass --runtime bf16")
    if not there():
        raise missing("openvino", "the runtime openvino")
    tower, graphs = tower.eval().requires_grad_(False), dict[torch.Size, Callable[[Tensor], Features]]()

    def run(video: Tensor) -> Features:
        if video.shape not in graphs:
            graphs[video.shape] = _compiled(tower, video)
        return graphs[video.shape](video)

    return run


def _compiled(tower: nn.Module, video: Tensor) -> Callable[[Tensor], Features]:
    """Raises `StillmotionError`: a tower that PyTorch cannot export, or with operations that OpenVINO lacks."""
    import openvino as ov

    try:
        with torch.no_grad():
            exported = torch.export.export(tower, (video,))
            model = ov.convert_model(exported)
    except Exception as error:  # OpenVINO's own derive from nothing narrower
        raise StillmotionError(
            f"OpenVINO cannot run this backbone ({one_line(error):.200}); pass --runtime fp32"
        ) from error
    named = exported.call_spec.out_spec
    assert named is not None
    places: dict[str, int] = pytree.tree_unflatten(list(range(len(model.outputs))), named)
    _round_weights(model)
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()

    def run(video: Tensor) -> Features:
        found = request.infer([video.contiguous().numpy()])
        return {name: torch.from_numpy(np.array(found[place])) for name, place in places.items()}

    return run


def _round_weights(model: Any) -> None:
    """Write the matrices of products as integers times a step for each output channel."""
    from openvino import opset13 as graph

    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        weight = node.input_value(1).get_node()
        if weight.get_type_name() != "Constant" or len(weight.shape) != 2 or min(weight.shape) < LEAST:
            continue
        values = weight.data.astype(np.float32)
        step = np.abs(values).max(axis=1 if node.get_attributes()["transpose_b"] else 0, keepdims=True) / 127
        step = np.maximum(step, np.finfo(np.float32).tiny)
        integers = graph.constant(np.round(values / step).astype(np.int8))
        rounded = graph.multiply(graph.convert(integers, "f32"), graph.constant(step))
        node.input(1).replace_source_output(rounded.output(0))
