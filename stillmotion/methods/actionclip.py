"""ActionCLIP (Wang et al., 2021): fine-tune CLIP with many prompts per class, and a temporal head on the frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError
from stillmotion.methods.base import Method
from stillmotion.models.features import Features
from stillmotion.models.layers import Block, Transformer, initialize
from stillmotion.models.positions import check_frames, interpolate
from stillmotion.models.video_clip import CosineHead, MeanPool, VideoCLIP
from stillmotion.training.tuning import Tune

Pool = Literal["meanP", "Transf", "Transf_cls", "LSTM", "Conv_1D"]
MAX_FRAMES = 77  # rows of the release's frame position table
TEMPLATES = (
    "a photo of action {}", "a picture of action {}", "Human action of {}", "{}, an action", "{} this is an action",
    "{}, a video of action", "Playing action of {}", "{}", "Playing a kind of action, {}",
    "Doing a kind of action, {}", "Look, the human is {}", "Can you recognize the action of {}?",
    "Video classification of {}", "A video of {}", "The man is {}", "The woman is {}",
)  # fmt: skip


class ConvPool(nn.Module):
    """Depthwise temporal convolution that starts as a shift of channels; residual, mean.

    The release reads the memory of a (T, E) table as (E, T), so its convolution runs across channels. `faithful` keeps
    that; without, it runs over time as the paper says.
    """

    def __init__(self, width: int, faithful: bool):
        super().__init__()
        self.faithful, fold = faithful, width // 4
        self.shift = nn.Conv1d(width, width, 3, padding=1, groups=width, bias=False)
        nn.init.zeros_(self.shift.weight)
        self.shift.weight.data[:fold, 0, 0] = 1  # from the previous frame
        self.shift.weight.data[fold : width - fold, 0, 1] = 1
        self.shift.weight.data[width - fold :, 0, 2] = 1  # from the next one

    def forward(self, features: Features) -> Tensor:
        x_BTE = features["frames"]
        B, T, E = x_BTE.shape
        x_BET = x_BTE.reshape(B, E, T) if self.faithful else x_BTE.transpose(1, 2)
        return (x_BTE + self.shift(x_BET).transpose(1, 2)).mean(dim=1)


class LSTMPool(nn.Module):
    """One LSTM layer over the frames; residual, mean."""

    def __init__(self, width: int):
        super().__init__()
        self.lstm_visual = nn.LSTM(width, width, batch_first=True)

    def forward(self, features: Features) -> Tensor:
        x_BTE = features["frames"]
        return (x_BTE + self.lstm_visual(x_BTE)[0]).mean(dim=1)


class TransformerPool(nn.Module):
    """Blocks over the frames with learned positions; residual, mean (`Transf`, the one its tables use)."""

    def __init__(self, width: int, heads: int, layers: int, positions: int, eps: float, num_frames: int):
        super().__init__()
        self.num_frames = num_frames  # the release's table has 77 rows, of which training reaches the first few
        self.frame_position_embeddings = nn.Embedding(positions, width)
        blocks = [Block(width, heads, 4 * width) for _ in range(layers)]
        self.transformer = Transformer(blocks)
        initialize(self, nn.init.normal_)
        for block in blocks:
            block.ln_1.eps = block.ln_2.eps = eps
            block.attn.initialize_packed()

    def forward(self, features: Features) -> Tensor:
        x_BTE, T = features["frames"], features["frames"].shape[1]
        if self.num_frames < T:  # fewer are what the release does; more would read rows that nothing trained
            check_frames(self.num_frames, T)
        y_BTE = self.transformer(x_BTE + self.frame_position_embeddings.weight[:T])
        return (x_BTE + y_BTE).mean(dim=1)

    def resize_time(self, num_frames: int) -> None:
        """Interpolate the learned frame positions, linearly, to another number of frames."""
        rows = self.frame_position_embeddings.weight.detach()
        table = torch.cat([interpolate(rows[: self.num_frames], num_frames), rows[num_frames:]])
        self.frame_position_embeddings = nn.Embedding.from_pretrained(table, freeze=False)
        self.num_frames = num_frames


class ClassTokenEncoder(nn.Module):
    """PyTorch's post-norm encoder over a class token and the frames."""

    def __init__(self, width: int, num_frames: int, layers: int):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, nhead=8, batch_first=True)
        self.transformer_enc = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, num_frames + 1, width))
        initialize(self, nn.init.normal_)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x_BTE: Tensor) -> Tensor:
        check_frames(self.pos_embed.shape[1] - 1, x_BTE.shape[1])
        x = torch.cat([self.cls_token.expand(x_BTE.shape[0], -1, -1), x_BTE], dim=1) + self.pos_embed
        return self.transformer_enc(x)[:, 0]


class ClassTokenPool(nn.Module):
    """A class token reads the frames; no residual (`Transf_cls`)."""

    def __init__(self, width: int, num_frames: int, layers: int):
        super().__init__()
        self.transformer = ClassTokenEncoder(width, num_frames, layers)

    def forward(self, features: Features) -> Tensor:
        return self.transformer(features["frames"])

    def resize_time(self, num_frames: int) -> None:
        """Interpolate the learned frame positions, linearly, to another number of frames."""
        token, table = self.transformer.pos_embed.detach()[:, :1], self.transformer.pos_embed[0, 1:]
        self.transformer.pos_embed = nn.Parameter(torch.cat([token, interpolate(table, num_frames)[None]], dim=1))


class ShiftBlock(Block):
    """TSM before every block: patches trade 1/8 of their channels with the next frame and 1/8 with the previous."""

    by_frame = False

    @staticmethod
    def enter(x_BTLD: Tensor) -> Tensor:
        """The class token stays; frames without a neighbor get zeros."""
        fold, cls, x = x_BTLD.shape[-1] // 8, x_BTLD[:, :, :1], x_BTLD[:, :, 1:]
        ahead = F.pad(x[:, 1:, :, :fold], (0, 0, 0, 0, 0, 1))
        back = F.pad(x[:, :-1, :, fold : 2 * fold], (0, 0, 0, 0, 1, 0))
        return torch.cat([cls, torch.cat([ahead, back, x[..., 2 * fold :]], dim=-1)], dim=2)


class TemplateHead(CosineHead):
    """Cosine similarity with every template's class embeddings; at test, probabilities are averaged over templates.

    Args:
        test_scale: the release's fixed scale at test; None: the learned temperature, as in training.
    """

    def __init__(self, test_scale: float | None):
        super().__init__()
        self.test_scale = test_scale

    def forward(self, video_BE: Tensor, text: Tensor | None, features: Features) -> Tensor:
        """(B, E) videos and (K, E) or (N, K, E) class embeddings to (B, K) logits, whose softmax is the mean of N."""
        logits = self.scale * (F.normalize(video_BE, dim=-1) @ F.normalize(self.need(text), dim=-1).transpose(-2, -1))
        if logits.ndim == 2:
            return logits
        return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(logits.shape[0])

    def compared(self, text: Tensor | None, features: Features) -> Tensor:
        """The mean direction of a class's templates, (K, E)."""
        text_NKE = F.normalize(self.need(text), dim=-1)
        return text_NKE if text_NKE.ndim == 2 else F.normalize(text_NKE.mean(dim=0), dim=-1)

    @property
    def scale(self) -> Tensor | float:
        """The fixed scale at test, the learned one in training."""
        return self.learned_scale() if self.training or self.test_scale is None else self.test_scale

    def combine(self, text_NKE: Tensor) -> Tensor:
        """Keep the embeddings of the templates apart."""
        return F.normalize(text_NKE, dim=-1)


@dataclass(frozen=True, kw_only=True)
class ActionCLIP(Method):
    """CLIP fine-tuned with 16 templates and a two-way contrastive loss; frames are put together by a temporal head."""

    needs_text: ClassVar[bool] = True
    objective: ClassVar[Literal["cross_entropy", "contrastive"]] = "contrastive"

    num_frames: int = 8
    """Frames read from each video."""
    pool: Pool = "Transf"
    """Temporal head, by the release's name: meanP, Transf, Transf_cls, LSTM or Conv_1D."""
    shift: bool = False
    """Shift channels between frames before every block of the image tower (TSM)."""
    layers: int = 6
    """Blocks of the two transformers."""
    positions: int = MAX_FRAMES
    """Rows of the frame position table of `Transf`."""
    eps: float = 1e-12
    """Epsilon of the norms of `Transf`; the release's own is 1e-12, mmaction2's port has 1e-5."""
    faithful: bool = True
    """Scramble the axes of `Conv_1D` as the release does; off: a convolution over time."""
    test_scale: float | None = 100.0
    """Scale of the cosine at test; None: the learned temperature."""
    new_rate: float = 10.0
    """Learning rate of the temporal head, times that of CLIP."""
    templates: tuple[str, ...] = TEMPLATES
    """Prompts for a class name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool == "Transf" and self.num_frames > self.positions:
            raise StillmotionError(f"num-frames is {self.num_frames}, positions {self.positions}; raise --positions")
        if self.pool not in get_args(Pool):
            raise StillmotionError(f"pool is {self.pool!r}; choose one of {', '.join(get_args(Pool))}")

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build the two towers and the temporal head."""
        return VideoCLIP(
            backbone.visual(self.reads(), **({"block": ShiftBlock} if self.shift else {})),
            self._pool(backbone),
            TemplateHead(self.test_scale),
            backbone.text_tower(),
            templates=self.templates,
            tokenizer=backbone.tokenizer,
        )

    def _pool(self, backbone: Backbone) -> nn.Module:
        E = backbone.embed_dim
        if self.pool == "Transf":
            heads = backbone.text.heads if backbone.text else E // 64
            return TransformerPool(E, heads, self.layers, self.positions, self.eps, self.num_frames)
        if self.pool == "Transf_cls":
            return ClassTokenPool(E, self.num_frames, self.layers)
        if self.pool == "LSTM":
            return LSTMPool(E)
        return ConvPool(E, self.faithful) if self.pool == "Conv_1D" else MeanPool()

    def tune(self) -> tuple[Tune, ...]:
        """All of CLIP, and the temporal head at ten times its rate."""
        return (Tune("*"),) if self.pool == "meanP" else (Tune("*"), Tune("temporal.*", self.new_rate))

    def new_parameters(self) -> tuple[str, ...]:
        """The temporal head."""
        return ("temporal.*",)
