"""Parameters and multiply-accumulates of a method, tower by tower, without weights or videos.

All runs on the meta device: it is quick at any size, and has none of the fused kernels that PyTorch's counter misses.
`saved_macs` knows the modules whose forward is an exact short cut, and what their equations as written would add.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError
from stillmotion.methods import Method
from stillmotion.methods.evl import CrossFrameAttention
from stillmotion.methods.step import StepAttention
from stillmotion.methods.xclip import CrossFrameBlock
from stillmotion.models.features import last_out
from stillmotion.models.query_attention import QueryAttention
from stillmotion.training.tuning import rules

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Counts of one part of a model.

    Multiply-accumulates (MACs; papers print them as FLOPs) are those of matrix products, convolutions and attention;
    norms, softmax and sums are not counted.
    """

    parameters: int
    """All of them, frozen ones and token tables too."""
    trained: int
    """Those that the method's tuning selects."""
    new: int
    """Those that the backbone's weights do not hold."""
    macs: int
    """As run."""
    plain_macs: int
    """Of the equations as written, without the exact short cuts of our code: what a release computes."""

    def __add__(self, other: "Part") -> "Part":
        return Part(*map(sum, zip(astuple(self), astuple(other))))


@dataclass(frozen=True)
class Counts:
    """Counts of a model: `visual`, `temporal` and `head` for one view of one video, `text` for all classes."""

    visual: Part
    temporal: Part
    head: Part
    text: Part
    """Its MACs are paid once per class list, so they are never added to a video's."""
    text_tokens: int
    """Tokens of a prompt that the text tower was counted with; 0 without a text tower."""

    @property
    def video(self) -> Part:
        """All but the text tower."""
        return self.visual + self.temporal + self.head

    @property
    def total(self) -> Part:
        """All of it: sizes of the model, and the work of one video with a class list of its own."""
        return self.video + self.text


def count(method: Method, backbone: Backbone, classes: int = 400, text_tokens: int | None = None) -> Counts:
    """Count a method on such a backbone, for one view of one video.

    Args:
        method: the method with its options; its `num_frames` are the frames of the view.
        backbone: the backbone.
        classes: classes to tell apart.
        text_tokens: tokens of a prompt; None: the whole context, 77 for OpenAI's models. Where the end of the prompts
            is known our text tower stops there, so this is what a release pays and an upper bound of ours.

    Raises `StillmotionError`: a number that makes no sense.
    """
    context = backbone.text.context_length if backbone.text else 0
    length = context if text_tokens is None else text_tokens
    if classes < 1:
        raise StillmotionError(f"classes is {classes}; it must be at least 1")
    if backbone.text and not 1 <= length <= context:
        raise StillmotionError(f"text-tokens is {length}; it must be in 1 to {context}, the context of the text tower")
    with torch.device("meta"):
        model = method.build(backbone, [str(i) for i in range(classes)]).eval()
        video = torch.empty(1, method.num_frames, 3, *backbone.pixels.size)
        tokens = torch.empty(classes, length, dtype=torch.long)
    if len(model.templates) > 1:
        tokens = tokens.expand(len(model.templates), -1, -1)
    trained = set(rules(model, method.tune()))
    new = {n for n, _ in model.named_parameters() if any(fnmatchcase(n, p) for p in method.new_parameters())}
    model.requires_grad_(False)  # the counter's hooks want gradients otherwise

    def part(name: str, call: Callable[[], T]) -> tuple[T, Part]:
        sizes = {path: p.numel() for path, p in model.named_parameters() if path.startswith(f"{name}.")}
        of = [sum(size for path, size in sizes.items() if path in chosen) for chosen in (sizes, trained, new)]
        result, *macs = _measure(call)
        return result, Part(*of, *macs)

    text, text_part = part("text", lambda: model.encode_text(tokens))
    features, visual = part("visual", lambda: model.visual(video))
    embedding, temporal = part("temporal", lambda: model.temporal(features))
    _, head = part("head", lambda: model.head(embedding, text, features))
    return Counts(visual, temporal, head, text_part, length if model.text is not None else 0)


def _measure(call: Callable[[], T]) -> tuple[T, int, int]:
    """Run a part on the meta device; returns its result and its MACs, as run and as written."""
    saved: list[int] = []
    note = register_module_forward_hook(lambda module, inputs, _: saved.append(saved_macs(module, inputs)))
    with torch.no_grad(), note, FlopCounterMode(display=False) as counter:
        result = call()
    macs = counter.get_total_flops() // 2
    return result, macs, macs + sum(saved)


def saved_macs(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Multiply-accumulates that the equations of a module as written would add to the exact short cut that it runs."""
    if isinstance(module, QueryAttention):  # a key and a value of every token, instead of folding and pooling
        (B, S, D), inner = inputs[1].shape, module.q_proj.out_features
        return 2 * B * ((S * D + S) * inner - (inner + S * module.heads) * D)
    if isinstance(module, StepAttention):  # what the other tokens ask and make: queries, outputs, scores, mixes
        B, T, L, D = last_out(inputs[0]).shape
        return B * T * L * 2 * (D * D + (T * L + 1) * D)
    if isinstance(module, CrossFrameBlock):  # the message token reads too: a query over L + 1 tokens, and its output
        B, T, L, D = inputs[0].shape
        return B * T * (2 * (L + 1) * D + D * D)
    if isinstance(module, CrossFrameAttention):  # both tables gathered; a window has zeros, so this costs less
        (B, T, _, D), table = inputs[0].shape, inputs[2]
        laid = sum(tile.height * tile.width * tile.rows.numel() for tile in table.tiles)
        return 2 * B * (T - 1) * D * ((table.grid[0] * table.grid[1]) ** 2 - laid)
    return 0
