"""ViFi-CLIP (Rasheed et al., CVPR 2023): fine-tune CLIP on videos, average over frames; or learn prompts for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.clip import TextTransformer
from stillmotion.errors import StillmotionError, at_least
from stillmotion.methods.base import Method
from stillmotion.models.layers import Block
from stillmotion.models.tokenizer import tokenize
from stillmotion.models.video_clip import CosineHead, MeanPool, VideoCLIP
from stillmotion.training.tuning import Tune

# The release embeds class names once, so its token table never trains; and its image and text variants freeze
# `logit_scale`, because they select by the words "image_encoder" and "text_encoder".
TUNES: dict[str, tuple[Tune, ...]] = {
    "full": (Tune("*"), Tune("text.token_embedding.*", 0)),
    "image": (Tune("visual.*"),),
    "text": (Tune("text.*"), Tune("text.token_embedding.*", 0)),
}
PROMPT_STD = 0.02


def rounded(prompt: Tensor, faithful: bool) -> Tensor:
    """The release passes visual and deep text prompts through float16 in every forward, whatever the precision."""
    return prompt.half().to(prompt.dtype) if faithful else prompt


class VisualPrompt(nn.Module):
    """Learned tokens behind the patches, before `ln_pre`; they have no positions (section 3.2)."""

    def __init__(self, length: int, width: int, faithful: bool):
        super().__init__()
        self.VPT, self.faithful = nn.Parameter(torch.randn(length, width) * PROMPT_STD), faithful

    def forward(self, x_BTLD: Tensor) -> Tensor:
        prompt = rounded(self.VPT, self.faithful).to(x_BTLD.dtype).expand(*x_BTLD.shape[:2], -1, -1)
        return torch.cat([x_BTLD, prompt], dim=2)


class TextPrompt(nn.Module):
    """Learned vectors in place of the embeddings of the words behind the start token."""

    def __init__(self, length: int, width: int):
        super().__init__()
        self.ctx = nn.Parameter(torch.randn(length, width) * PROMPT_STD)

    def forward(self, x_KSD: Tensor, tokens_KS: Tensor) -> Tensor:
        return _replace_context(x_KSD, self.ctx)


class PromptedBlock(Block):
    """A block that first overwrites the prompts of the one before it: the last tokens, or those behind the first."""

    def __init__(self, width: int, *sizes: Any, length: int, faithful: bool, text: bool):
        super().__init__(width, *sizes)
        self.VPT_shallow = nn.Parameter(torch.randn(length, width) * PROMPT_STD)
        self.faithful, self.is_text = faithful, text

    def enter(self, x: Tensor) -> Tensor:
        """Put this block's prompts where the previous ones were."""
        prompt = rounded(self.VPT_shallow, self.faithful).to(x.dtype)
        if self.is_text:
            return _replace_context(x, prompt)
        return torch.cat([x[..., : -prompt.shape[0], :], prompt.expand(*x.shape[:-2], -1, -1)], dim=-2)


def _replace_context(x_KSD: Tensor, prompt_ND: Tensor) -> Tensor:
    prompt_KND = prompt_ND.to(x_KSD.dtype).expand(x_KSD.shape[0], -1, -1)
    return torch.cat([x_KSD[:, :1], prompt_KND, x_KSD[:, 1 + prompt_ND.shape[0] :]], dim=1)


class PromptedCLIP(VideoCLIP):
    """Its prompts begin with filler words, which learned vectors replace; underscores in names become spaces."""

    def prompt(self, class_names: Sequence[str]) -> Tensor:
        """Class names to token ids (K, S): `X X ... X {name}.`."""
        return super().prompt([name.replace("_", " ") for name in class_names])


@dataclass(frozen=True, kw_only=True)
class ViFiCLIP(Method):
    """Mean of un-normalized frame embeddings, cosine with the class names, no new weights (section 3.1).

    With `tuned="prompts"` it is the second stage of *bridge and prompt* (section 3.2): CLIP, fine-tuned on videos
    before, is frozen, and vectors in both towers are learned from little data. The paper's few-shot setting is 10 + 10
    prompts in 12 layers (153,600 parameters), its base-to-novel setting 16 + 16 in 9 (184,320).
    """

    needs_text: ClassVar[bool] = True
    pixels_too: ClassVar[bool] = True  # the release augments, in text-FT too

    num_frames: int = 16
    """Frames read from each video (the paper: 16 fully supervised, 32 zero-shot and few-shot)."""
    tuned: Literal["full", "image", "text", "prompts"] = "full"
    """What trains: both towers and the temperature (ViFi-CLIP), one of them (CLIP image-FT, text-FT), or prompts."""
    template: str = "a photo of a {}."
    """Prompt for a class name, where no text prompts are learned."""
    vision_prompts: int = 0
    """Learned tokens in the image tower."""
    text_prompts: int = 0
    """Learned vectors in the text tower."""
    vision_depth: int = 12
    """Layers of the image tower that have prompts of their own, from the first, at most all."""
    text_depth: int = 12
    """Layers of the text tower that have prompts of their own, from the first, at most all; 1: the input alone."""
    initial_words: str = ""
    """Words whose embeddings the text prompts start from, at most 4 of them, as many as there are prompts."""
    faithful: bool = True
    """Round visual and deep text prompts to float16 in the forward pass, as the release does in any precision."""

    def __post_init__(self) -> None:
        super().__post_init__()
        count, words = self.text_prompts, len(self.initial_words.split())
        at_least(0, self, "vision_prompts", "text_prompts")
        if self.vision_prompts or count:
            at_least(1, self, "vision_depth", "text_depth")
        elif self.tuned == "prompts":
            raise StillmotionError(
                "tuned is 'prompts' and there are none; pass --vision-prompts 10 --text-prompts 10, say"
            )
        for tuned, tower, prompts in (("text", "vision", self.vision_prompts), ("image", "text", count)):
            if self.tuned == tuned and prompts:
                raise StillmotionError(
                    f"{tower}-prompts is {prompts} and --tuned {tuned} does not train them; use --tuned prompts"
                )
        if self.initial_words and not words == count <= 4:
            raise StillmotionError(
                f"initial-words {self.initial_words!r} are {words} for {count} text prompts; give one word for each "
                "prompt, and at most 4"
            )

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build the two towers, with prompts if there are any, mean pooling and the cosine head."""
        kind, template = VideoCLIP, self.template
        vision: dict[str, Any] = {}
        if self.vision_prompts:
            vision["stem"] = VisualPrompt(self.vision_prompts, backbone.width, self.faithful)
            vision["block"] = partial(PromptedBlock, length=self.vision_prompts, faithful=self.faithful, text=False)
            vision["where"] = range(1, self.vision_depth)
        text: dict[str, Any] = {}
        if self.text_prompts and backbone.text:
            text["stem"] = TextPrompt(self.text_prompts, backbone.text.width)
            text["block"] = partial(PromptedBlock, length=self.text_prompts, faithful=self.faithful, text=True)
            text["where"] = range(1, self.text_depth)
            kind, template = PromptedCLIP, f"{self.initial_words or ' '.join(['X'] * self.text_prompts)} {{}}."
        return kind(
            backbone.visual(self.reads(), **vision),
            MeanPool(),
            CosineHead(bias=backbone.sigmoid),
            backbone.text_tower(**text),
            templates=(template,),
            tokenizer=backbone.tokenizer,
        )

    def tune(self) -> tuple[Tune, ...]:
        """What the chosen variant trains (at B/16: full 124.3 M, image 86.2 M, text 38.1 M)."""
        return super().tune() if self.tuned == "prompts" else TUNES[self.tuned]

    @property
    def frozen(self) -> bool:
        """Where the text tower alone trains, or prompts of it alone."""
        return self.tuned == "text" or (self.tuned == "prompts" and not self.vision_prompts)

    def new_parameters(self) -> tuple[str, ...]:
        """The prompts."""
        vision = ("visual.stem.VPT", "visual.*.VPT_shallow")[: min(self.vision_depth, 2)]
        text = ("text.stem.ctx", "text.*.VPT_shallow")[: min(self.text_depth, 2)]
        return (vision if self.vision_prompts else ()) + (text if self.text_prompts else ())

    def init_from_backbone(self, model: VideoCLIP) -> None:
        """Start the text prompts from the embeddings of the initial words."""
        if self.initial_words and model.text is not None:
            tokens = tokenize([self.initial_words], model.tokenizer)[0, 1 : 1 + self.text_prompts]
            assert isinstance(model.text, TextTransformer) and isinstance(model.text.stem, TextPrompt)
            model.text.stem.ctx.data.copy_(model.text.token_embedding.weight[tokens])
