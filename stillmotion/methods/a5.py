"""A0 to A7 (Ju et al., *Prompting Visual-Language Models for Efficient Video Understanding*, ECCV 2022).

CLIP stays frozen; vectors around the class name and a small transformer over the frames are learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError, at_least, check_fields
from stillmotion.methods.base import Method
from stillmotion.models.features import Features
from stillmotion.models.layers import Block, Transformer
from stillmotion.models.positions import check_frames, interpolate
from stillmotion.models.video_clip import CosineHead, MeanPool, VideoCLIP

TABLE_STD = 0.01
HEAD_WIDTH = 64  # 8 heads at width 512


class LearnedContext(nn.Module):
    """Slots around the class name become rows of one table by absolute position (figure 2).

    What lies behind the end token is left: nothing reads it.
    """

    def __init__(self, length: int, width: int, prefix: int, postfix: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(length, width) * TABLE_STD)
        self.prefix, self.postfix = prefix, postfix

    def forward(self, x_KSD: Tensor, tokens_KS: Tensor) -> Tensor:
        place_S = torch.arange(x_KSD.shape[1], device=x_KSD.device)
        end_K1 = tokens_KS.argmax(dim=-1, keepdim=True)
        # By place and not by id 0, which is a word too: an exclamation mark before another mark.
        before = (place_S > 0) & (place_S <= self.prefix)
        slots_KS = before | ((place_S >= end_K1 - self.postfix) & (place_S < end_K1))
        return torch.where(slots_KS.unsqueeze(-1), self.weight[: x_KSD.shape[1]].to(x_KSD.dtype), x_KSD)


class TemporalTransformer(nn.Module):
    """Blocks over the frames with learned positions, then the mean; unlike ActionCLIP's, without a residual."""

    def __init__(self, width: int, num_frames: int, layers: int):
        super().__init__()
        self.temporalEmbedding = nn.Embedding(num_frames, width)
        nn.init.normal_(self.temporalEmbedding.weight, std=TABLE_STD)
        blocks = [Block(width, max(1, width // HEAD_WIDTH), 4 * width) for _ in range(layers)]
        for block in blocks:
            block.attn.initialize_packed()
        self.temporalModelling = Transformer(blocks)

    def forward(self, features: Features) -> Tensor:
        x_BTE = features["frames"]
        check_frames(self.temporalEmbedding.num_embeddings, x_BTE.shape[1])
        return self.temporalModelling(x_BTE + self.temporalEmbedding.weight).mean(dim=1)

    def resize_time(self, num_frames: int) -> None:
        """Interpolate the learned frame positions, linearly, to another number of frames."""
        table = interpolate(self.temporalEmbedding.weight, num_frames)
        self.temporalEmbedding = nn.Embedding.from_pretrained(table, freeze=False)


class ContextCLIP(VideoCLIP):
    """Its token ids leave slots around a class name: `[start] 0 ... 0 name 0 ... 0 [end]`."""

    def __init__(self, *parts: nn.Module | None, prefix: int, postfix: int, tokenizer: str):
        super().__init__(*parts, templates=("{}",), tokenizer=tokenizer)  # type: ignore[arg-type]
        self.prefix, self.postfix = prefix, postfix

    def prompt(self, class_names: Sequence[str]) -> Tensor:
        """Class names to token ids (K, S).

        Raises `StillmotionError`: a name that does not fit between the slots.
        """
        tokens_KS = super().prompt(class_names)
        spread_KS = torch.zeros_like(tokens_KS)
        ends = tokens_KS.argmax(dim=-1).tolist()
        for name, source, row, end in zip(class_names, tokens_KS, spread_KS, ends):
            last = self.prefix + end + self.postfix
            if last >= row.shape[0]:
                room = row.shape[0] - 2 - self.prefix - self.postfix
                raise StillmotionError(
                    f"class name {name!r} has {end - 1} tokens, at most {room} "
                    f"fit between {self.prefix} and {self.postfix} learned vectors; shorten it or learn fewer"
                )
            row[0], row[self.prefix + 1 : self.prefix + end], row[last] = source[0], source[1:end], source[end]
        return spread_KS


@dataclass(frozen=True, kw_only=True)
class A5(Method):
    """Learned text context and a temporal transformer on a frozen CLIP.

    The paper's models are sizes of it: A0 to A3 have 2, 4, 8 and 16 vectors on each side and no transformer, A4 to A7
    have 16 and one to four layers.
    """

    needs_text: ClassVar[bool] = True
    frozen = True

    num_frames: int = 16
    """Frames read from each video."""
    prefix: int = 16
    """Learned vectors before the class name."""
    postfix: int = 16
    """Learned vectors behind it."""
    layers: int = 2
    """Blocks of the temporal transformer; 0 averages the frames."""
    temperature: float = 0.07
    """Divides the cosine; fixed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self, "prefix", "postfix", "layers")
        check_fields(self, "above 0", lambda x: x > 0, "temperature")

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build the two frozen towers, the context table and the temporal transformer."""
        text, steps = {}, backbone.steps(self.num_frames)
        if sizes := backbone.text:
            text["stem"] = LearnedContext(sizes.context_length, sizes.width, self.prefix, self.postfix)
        return ContextCLIP(
            backbone.visual(self.reads()),
            TemporalTransformer(backbone.embed_dim, steps, self.layers) if self.layers else MeanPool(),
            CosineHead(scale=1 / self.temperature),
            backbone.text_tower(**text),
            prefix=self.prefix,
            postfix=self.postfix,
            tokenizer=backbone.tokenizer,
        )

    def new_parameters(self) -> tuple[str, ...]:
        """The table and the transformer (A5: 6,352,384 parameters; A6: 9,504,768)."""
        return ("text.stem.weight", "temporal.*") if self.layers else ("text.stem.weight",)
