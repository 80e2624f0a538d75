"""EVL (Lin et al., ECCV 2022): a light decoder whose one video query reads the last blocks of a frozen CLIP."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError, at_least
from stillmotion.methods.base import Probe
from stillmotion.models.affinity import AHEAD, BACK
from stillmotion.models.features import Features, Reads, resolve
from stillmotion.models.layers import LayerNorm, QuickGELU
from stillmotion.models.positions import check_frames, interpolate
from stillmotion.models.query_attention import QueryAttention
from stillmotion.models.relative_table import RelativeTable
from stillmotion.training.tuning import Tune

Init = Literal["release", "identity", "motion"]
Tokens = Literal["all", "class_tokens", "frame_means", "time_means"]
POSITION_STD = 0.3  # about that of CLIP's tokens, so that a frame's place is as loud as its content
TABLE_STD = 10.0  # affinities are spread over some two hundred patches, so their mean is small


class CrossFrameAttention(nn.Module):
    """Temporal cross-attention (section 3.3): patch affinity between neighboring frames, read as a motion feature."""

    def __init__(self, table: RelativeTable, width: int):
        super().__init__()
        self.w1 = nn.Parameter(torch.zeros(table.size, width))  # towards the previous frame
        self.w2 = nn.Parameter(torch.zeros(table.size, width))  # towards the next frame

    def forward(self, memory_BTLD: Tensor, affinity_BTNPP: Tensor, table: RelativeTable) -> Tensor:
        """Add motion to the patches of the memory; the first frame has no past, the last no future."""
        memory_BTLD = table.add_(memory_BTLD, 1, affinity_BTNPP[:, :, BACK], self.w1)
        return table.add_(memory_BTLD, 0, affinity_BTNPP[:, :, AHEAD], self.w2)


class MLP(nn.Module):
    """Linear, QuickGELU, dropout, linear."""

    def __init__(self, width: int, hidden: int, dropout: float):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.act, self.dropout = QuickGELU(), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.dropout(self.act(self.fc1(x))))


class DecoderLayer(nn.Module):
    """The video query attends to the tokens of all frames, then passes an MLP."""

    def __init__(self, width: int, heads: int, inner: int, mlp_width: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = LayerNorm(width), LayerNorm(width), LayerNorm(width)
        self.attn = QueryAttention(width, heads, inner, of="decoder")
        self.mlp = MLP(width, mlp_width, dropout)

    def forward(self, query_BD: Tensor, memory_BSD: Tensor) -> Tensor:
        query_BD = query_BD + self.attn.read(self.norm1(query_BD), memory_BSD, self.norm3)
        return query_BD + self.mlp(self.norm2(query_BD))

    def initialize(self) -> None:
        """Xavier-uniform matrices, as in the release."""
        self.attn.initialize()
        for linear in (self.mlp.fc1, self.mlp.fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)


class EVLDecoder(nn.Module):
    """M decoder layers; layer i reads the i-th of some blocks, with motion added by three modules (figure 2)."""

    def __init__(self, method: "EVL", backbone: Backbone):
        super().__init__()
        D, M = backbone.width, method.layers
        heads, inner = method.heads or D // 64, method.inner_width or D
        mlp_width = round(method.mlp_ratio * D)
        self.cls_token = nn.Parameter(torch.zeros(D))  # starts at zero: the release never calls its initializer
        layers = [DecoderLayer(D, heads, inner, mlp_width, method.dropout) for _ in range(M)]
        self.decoder_layers = nn.ModuleList(layers)
        self.num_frames, self.tokens = backbone.steps(method.num_frames), method.tokens
        self.blocks, self.prefix = resolve(method.read_blocks(), backbone.layers), backbone.prefix_tokens
        conv = [nn.Conv1d(D, D, 3, padding=1, groups=D) for _ in range(M if method.conv else 0)]
        self.temporal_conv = nn.ModuleList(conv)
        positions = [torch.zeros(self.num_frames, D) for _ in range(M if method.positions else 0)]
        self.temporal_pos_embed = nn.ParameterList(positions)
        self.table = RelativeTable(backbone.grid, self.prefix) if method.cross_attention else None
        cross = [CrossFrameAttention(self.table, D) for _ in range(M) if self.table is not None]
        self.cross_attention = nn.ModuleList(cross)

    @property
    def layers(self) -> list[DecoderLayer]:
        """The decoder layers, shallow to deep."""
        return [layer for layer in self.decoder_layers if isinstance(layer, DecoderLayer)]

    def forward(self, features: Features) -> Tensor:
        """Read the blocks' tokens into one video embedding, (B, D)."""
        query_BD = self._query(features)
        for i, layer in enumerate(self.layers):
            query_BD = layer(query_BD, self.pooled(self.memory(i, features)).flatten(1, 2))
        return query_BD

    def attention(self, features: Features) -> Tensor:
        """Where the video query looks in every layer, (B, M, H, T, L), summing to one over T and L (figure 4).

        An axis that the tokens are pooled over has length one.
        """
        query_BD, weights = self._query(features), []
        for i, layer in enumerate(self.layers):
            memory_BTLD = self.pooled(self.memory(i, features))
            memory_BSD = memory_BTLD.flatten(1, 2)
            read = layer.attn.weights(layer.norm1(query_BD), layer.norm3(memory_BSD))
            weights.append(read.unflatten(-1, memory_BTLD.shape[1:3]))
            query_BD = layer(query_BD, memory_BSD)
        return torch.stack(weights, dim=1)

    def _query(self, features: Features) -> Tensor:
        return self.cls_token.expand(features[f"out.{self.blocks[0]}"].shape[0], -1)

    def memory(self, i: int, features: Features) -> Tensor:
        """What layer i reads, (B, T, L, D): a block's tokens plus what the temporal modules see in them."""
        out_BTLD = features[f"out.{self.blocks[i]}"]
        y_BTLD = out_BTLD.to(self.cls_token.dtype)
        if self.temporal_conv:
            conv = self.temporal_conv[i]
            assert isinstance(conv, nn.Conv1d)
            y_BTLD = self._convolve(y_BTLD, conv)
        if self.temporal_pos_embed:
            check_frames(self.num_frames, y_BTLD.shape[1])
            y_BTLD = y_BTLD + self.temporal_pos_embed[i][:, None]
        if self.table is not None:
            if y_BTLD is out_BTLD or y_BTLD._is_view():
                y_BTLD = y_BTLD.clone()  # motion is added in place, and never to the tower's own output
            y_BTLD = self.cross_attention[i](y_BTLD, features[f"affinity.{self.blocks[i]}"], self.table)
        return y_BTLD

    def pooled(self, memory_BTLD: Tensor) -> Tensor:
        """The tokens that the query reads: (B, T, L, D), or one of its axes pooled to 1 (table 6c)."""
        if self.tokens == "class_tokens":
            return memory_BTLD[:, :, :1]
        if self.tokens == "frame_means":
            return memory_BTLD[:, :, self.prefix :].mean(dim=2, keepdim=True)
        return memory_BTLD.mean(dim=1, keepdim=True) if self.tokens == "time_means" else memory_BTLD

    @staticmethod
    def _convolve(x_BTLD: Tensor, conv: nn.Conv1d) -> Tensor:
        """X + conv(x): the residual is one more on the middle tap of the kernel."""
        # A depthwise convolution over time is a 3x1 one over (time, tokens) of a channels-last image, which is how
        # the tokens lie in memory: no transposed copy, four times faster than Conv1d.
        kernel = conv.weight + conv.weight.new_tensor([0.0, 1.0, 0.0])
        x_BDTL = x_BTLD.permute(0, 3, 1, 2)
        y_BDTL = F.conv2d(x_BDTL, kernel[..., None], conv.bias, padding=(1, 0), groups=x_BTLD.shape[-1])
        return y_BDTL.permute(0, 2, 3, 1)

    def resize_time(self, num_frames: int) -> None:
        """Interpolate the learned frame positions, linearly, to another number of frames."""
        for i, table in enumerate(self.temporal_pos_embed):
            self.temporal_pos_embed[i] = nn.Parameter(interpolate(table, num_frames))
        self.num_frames = num_frames

    def initialize(self, init: Init) -> None:
        """Fill the weights: see `EVL.init`."""
        for layer in self.layers:
            layer.initialize()
        if init != "release":  # whose convolution keeps PyTorch's random kernel
            for parameter in self.temporal_conv.parameters():
                nn.init.zeros_(parameter)
        if init == "motion":  # positions and tables start at zero in the others
            for positions in self.temporal_pos_embed:
                nn.init.normal_(positions, std=POSITION_STD)
            for motion in self.cross_attention:
                assert isinstance(motion, CrossFrameAttention)
                nn.init.normal_(motion.w1, std=TABLE_STD)
                # The two neighbors of a patch in a still scene are the same, so opposite tables cancel there.
                motion.w2.data.copy_(-motion.w1.data)


@dataclass(frozen=True, kw_only=True)
class EVL(Probe):
    """EVL's decoder and linear head on a frozen CLIP image tower."""

    layers: int = 4
    """Decoder layers (4 on Kinetics-400; 12 and 24 on SSv2 with B/16 and L/14)."""
    taps: tuple[int, ...] | None = None
    """Blocks read, one per layer, counted from the end if negative; None: the last `layers`."""
    tokens: Tokens = "all"
    """Feature shape (table 6c): `all` tokens; `class_tokens` of the frames; `frame_means` of a frame's tokens;
    `time_means` of a place's tokens."""
    conv: bool = True
    """Temporal convolution."""
    positions: bool = True
    """Learned frame positions."""
    cross_attention: bool = True
    """Temporal cross-attention between neighboring frames."""
    init: Init = "release"
    """How the temporal modules start: `release`, its random convolution and the rest at zero, for large sets; on small
    ones `identity`, all at nothing, where appearance tells classes apart, and `motion`, loud positions and tables that
    cancel where nothing moves, where only the direction of time does. The wrong one of these costs thirty points."""
    dropout: float = 0.5
    """Dropout in the decoder's MLPs and before the linear head."""
    mlp_ratio: float = 4.0
    """Hidden width of the decoder's MLPs, in widths of the tower."""
    heads: int | None = None
    """Attention heads of the decoder; None: one per 64 channels."""
    inner_width: int | None = None
    """Total width of the decoder's heads; None: the width of the tower."""
    temporal_rate: float = 1.0
    """Learning rate of the three temporal modules, times that of the rest."""
    backbone_rate: float = 0.0
    """Learning rate of CLIP, times that of the rest; 0 keeps CLIP frozen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "layers")
        if self.tokens not in get_args(Tokens):
            raise StillmotionError(f"tokens is {self.tokens!r}; choose one of {', '.join(get_args(Tokens))}")

    def reader(self, backbone: Backbone) -> EVLDecoder:
        """Build the decoder, initialized by `init`.

        Raises `StillmotionError`: heads that do not divide the width, or a block or class tokens that are not there.
        """
        if self.tokens == "class_tokens" and not backbone.prefix_tokens:
            raise StillmotionError("this backbone has no class tokens; choose other --tokens")
        decoder = EVLDecoder(self, backbone)
        decoder.initialize(self.init)
        return decoder

    def tune(self) -> tuple[Tune, ...]:
        """Decoder and head; the temporal modules and CLIP at their own rates."""
        parts = {"temporal_conv": self.conv, "temporal_pos_embed": self.positions}
        parts |= {"cross_attention": self.cross_attention}
        modules = (Tune(f"temporal.{part}.*", self.temporal_rate) for part, on in parts.items() if on)
        tower = (Tune("visual.*", self.backbone_rate),) if self.backbone_rate else ()
        return (*super().tune(), *modules, *tower)

    def reads(self) -> Reads:
        """Tokens of the blocks, one for each layer, and with cross-attention how neighboring frames attend."""
        blocks = self.read_blocks()
        return Reads(out=blocks, affinity=blocks if self.cross_attention else ())

    @property
    def frozen(self) -> bool:
        """The backbone is only read, unless it has a rate of its own."""
        return not self.backbone_rate

    def read_blocks(self) -> tuple[int, ...]:
        """The block that each decoder layer reads, shallow to deep.

        Raises `StillmotionError`: not one for each layer.
        """
        taps = tuple(range(-self.layers, 0)) if self.taps is None else tuple(self.taps)
        if len(taps) != self.layers:
            raise StillmotionError(f"{len(taps)} taps {taps} for {self.layers} decoder layers; give one tap per layer")
        return taps
