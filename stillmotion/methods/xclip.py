"""X-CLIP (Ni et al., ECCV 2022): frames exchange messages inside the image tower, and the video prompts the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.methods.base import Method
from stillmotion.models.features import Features, Reads, last_out
from stillmotion.models.layers import Activation, Attention, Block, LayerNorm, QuickGELU, attend, initialize
from stillmotion.models.positions import check_frames, interpolate
from stillmotion.models.video_clip import CosineHead, VideoCLIP
from stillmotion.training.tuning import Tune


class CrossFrameBlock(Block):
    """Each frame's class token sends a message to the others; spatial attention sees its own frame's (section 3.2)."""

    by_frame = False

    def __init__(self, width: int, heads: int, mlp_width: int, act: Activation = "quick_gelu", scale: bool = False):
        super().__init__(width, heads, mlp_width, act, scale)
        self.message_fc, self.message_ln = nn.Linear(width, width), LayerNorm(width)
        self.message_attn = Attention(width, heads)
        self.message_attn.initialize_packed()

    def forward(self, x_BTLD: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.tap(x_BTLD)[0]

    def tap(self, x_BTLD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As any block's; the last of the keys and values is the message's, which has no query."""
        message_BTD = self.message_fc(x_BTLD[:, :, 0])
        message_BTD = message_BTD + self.message_attn(self.message_ln(message_BTD))
        y_BTLD = torch.cat([x_BTLD, message_BTD.unsqueeze(2)], dim=2)
        q, k, v = self.attn.qkv(self.ln_1(y_BTLD))
        q = q[..., :-1, :]  # what the message token itself would read is dropped
        x_BTLD = x_BTLD + self.ls_1(self.attn.merge(attend(q, k, v)))
        return x_BTLD + self.ls_2(self.mlp(self.ln_2(x_BTLD))), q, k, v


class MultiFrameIntegration(nn.Module):
    """A small transformer over the frame embeddings with a residual, then the mean (section 3.2)."""

    def __init__(self, width: int, num_frames: int, layers: int):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(1, num_frames, width))
        self.resblocks = nn.Sequential(*[Block(width, max(1, width // 64), 4 * width) for _ in range(layers)])
        nn.init.trunc_normal_(self.positional_embedding, std=0.02)
        initialize(self, nn.init.trunc_normal_)
        for block in self.resblocks:
            assert isinstance(block, Block)
            block.attn.initialize_packed()

    def forward(self, features: Features) -> Tensor:
        x_BTE = features["frames"]
        check_frames(self.positional_embedding.shape[1], x_BTE.shape[1])
        return (x_BTE + self.resblocks(x_BTE + self.positional_embedding)).mean(dim=1)

    def resize_time(self, num_frames: int) -> None:
        """Interpolate the learned frame positions, linearly, to another number of frames."""
        self.positional_embedding = nn.Parameter(interpolate(self.positional_embedding[0], num_frames)[None])


class CrossAttention(nn.Module):
    """Class embeddings read the video's patches."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, text_BKE: Tensor, video_BPE: Tensor) -> Tensor:
        q, k, v = self.q_proj(text_BKE), self.k_proj(video_BPE), self.v_proj(video_BPE)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for t in (q, k, v))
        return self.proj(attend(q, k, v).transpose(-3, -2).flatten(-2))


class PromptLayer(nn.Module):
    """Cross-attention and an MLP, each behind a norm of its own; the video is normed once, outside."""

    def __init__(self, width: int):
        super().__init__()
        self.cross_attn = CrossAttention(width, max(1, width // 64))
        self.norm1, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width)
        # The release has a dropout of rate 0 in place 2, which is why the last layer is number 3.
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, text_BKE: Tensor, video_BPE: Tensor) -> Tensor:
        text_BKE = text_BKE + self.cross_attn(self.norm1(text_BKE), video_BPE)
        return text_BKE + self.mlp(self.norm3(text_BKE))


class VideoPromptHead(CosineHead):
    """Class embeddings shifted by what the video's patches say, then cosine similarity (section 3.3)."""

    def __init__(self, vision_width: int, width: int, layers: int, alpha: float):
        super().__init__()
        self.ln, self.norm = LayerNorm(vision_width), nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(vision_width, width))
        self.decoder = nn.ModuleList([PromptLayer(width) for _ in range(layers)])
        self.alpha = nn.Parameter(torch.full((width,), alpha))
        initialize(self, nn.init.trunc_normal_)

    def forward(self, video_BE: Tensor, text: Tensor | None, features: Features) -> Tensor:
        text_BKE = self.compared(text, features)
        return self.scale * (text_BKE @ F.normalize(video_BE, dim=-1).unsqueeze(-1)).squeeze(-1)

    def compared(self, text: Tensor | None, features: Features) -> Tensor:
        """The class embeddings with what the video adds to them, normalized, (B, K, E)."""
        text_BKE = self.need(text).expand(last_out(features).shape[0], -1, -1)
        return F.normalize(text_BKE + self.prompts(text_BKE, features), dim=-1)

    def prompts(self, text_BKE: Tensor, features: Features) -> Tensor:
        """What the video adds to every class embedding, (B, K, E)."""
        context_BPE = self.norm((self.ln(last_out(features)[:, :, 1:]) @ self.proj).mean(dim=1))
        for layer in self.decoder:
            text_BKE = layer(text_BKE, context_BPE)
        return self.alpha * text_BKE


@dataclass(frozen=True, kw_only=True)
class XCLIP(Method):
    """Cross-frame communication, multi-frame integration and video-specific prompts on a fine-tuned CLIP."""

    needs_text: ClassVar[bool] = True

    num_frames: int = 8
    """Frames read from each video (8 or 16 fully supervised, 32 few-shot and zero-shot)."""
    mit_layers: int = 1
    """Blocks of the multi-frame integration transformer."""
    prompt_layers: int = 2
    """Layers in which class embeddings read the video."""
    alpha: float = 0.1
    """How much of the video-specific prompt is added at the start."""
    train_text: bool = False
    """Train the text tower and the temperature too; the release freezes them and encodes the class names once."""
    new_rate: float = 10.0
    """Learning rate of the new parts, times that of CLIP's."""
    template: str = "{}"
    """Prompt for a class name; the release uses the bare name."""

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build the towers, the integration transformer and the prompting head."""
        return VideoCLIP(
            backbone.visual(self.reads(), block=CrossFrameBlock),
            MultiFrameIntegration(backbone.embed_dim, self.num_frames, self.mit_layers),
            VideoPromptHead(backbone.width, backbone.embed_dim, self.prompt_layers, self.alpha),
            backbone.text_tower(),
            templates=(self.template,),
            tokenizer=backbone.tokenizer,
        )

    def reads(self) -> Reads:
        """Frame embeddings, and the tokens that the prompts are made of."""
        return Reads(frames=True, out=(-1,))

    def tune(self) -> tuple[Tune, ...]:
        """Image tower, and the new parts at ten times its rate; position tables are not decayed (section 4)."""
        new = self.new_rate
        tunes = [Tune("*" if self.train_text else "visual.*"), Tune("temporal.*", new), Tune("head.*", new)]
        tunes += [Tune("visual.*.message_*", new), Tune("visual.positional_embedding", decay=0)]
        tunes += [Tune("temporal.positional_embedding", new, decay=0)]
        tunes += [Tune("head.logit_scale", 1.0 if self.train_text else 0.0)]
        return (*tunes, Tune("text.positional_embedding", decay=0)) if self.train_text else tuple(tunes)

    def new_parameters(self) -> tuple[str, ...]:
        """Messages, integration and prompts."""
        return ("visual.*.message_*", "temporal.*", "head.[!l]*", "head.ln.*")
