"""CLIP's image and text towers, with a frame axis and the seams that every method plugs into.

Parameter names follow OpenAI's checkpoints, so official state dicts load by name.
"""

from collections.abc import Container
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone, check_video
from stillmotion.backbones.config import CLIPConfig, TextConfig, VisionConfig
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import StillmotionError
from stillmotion.models.affinity import affinities
from stillmotion.models.class_attention import Note
from stillmotion.models.features import FRAMES, Features, Reads
from stillmotion.models.layers import Block, LayerNorm, Transformer


class VisionTransformer(nn.Module):
    """The image tower, applied to every frame.

    `observe` shows its attention, `embed_patches` what its patches are in the space of class names.

    Seams: `stem` sees the embedded tokens just before `ln_pre`; `blocks` replaces the transformer blocks. Both take
    and return (B, T, L, D): time is never folded away.

    Args:
        config: sizes of the whole CLIP model.
        reads: the outputs to give. The final norm and the projection are there for `frames` alone.
    """

    class_token = True

    def __init__(self, config: CLIPConfig, reads: Reads = FRAMES, blocks: list[Block] | None = None, stem: Any = None):
        super().__init__()
        sizes = config.vision
        D, (gh, gw) = sizes.width, sizes.grid
        self.image_size, self.pool, self.grid, self.prefix_tokens = sizes.image_size, sizes.pool, sizes.grid, 1
        self.reads = frozenset(reads.names(sizes.layers))
        self.conv1 = nn.Conv2d(3, D, sizes.patch_size, sizes.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(D) * D**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn(1 + gh * gw, D) * D**-0.5)
        self.stem: nn.Module = stem or nn.Identity()
        self.ln_pre: nn.Module = LayerNorm(D) if sizes.ln_pre else nn.Identity()
        self.transformer = Transformer(blocks or make_blocks(sizes, config))
        self.ln_post: nn.Module = LayerNorm(D) if reads.frames else nn.Identity()
        self.proj = nn.Parameter(torch.randn(D, config.embed_dim) * D**-0.5) if reads.frames else None

    def embed(self, video: Tensor) -> Tensor:
        """(B, T, 3, H, W) pixels to (B, T, L, D) tokens before the first block."""
        x = self.conv1(video.flatten(0, 1)).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
        x_BTLD = (x + self.positional_embedding.to(x.dtype)).unflatten(0, video.shape[:2])
        return self.ln_pre(self.stem(x_BTLD))

    @property
    def by_frame(self) -> bool:
        """Whether frames do not see each other."""
        return all(getattr(part, "by_frame", True) for part in (self.stem, *self.transformer.resblocks))

    def forward(self, video: Tensor) -> Features:
        """Encode a normalized (B, T, 3, H, W) video."""
        return self.observe(video, None)

    def observe(self, video: Tensor, note: Note | None) -> Features:
        """Encode a video, and show `note` the attention of every block."""
        check_video(video, self.image_size)
        x_BTLD, found = self.embed(video), Features()
        for i, block in enumerate(self.transformer.resblocks):
            assert isinstance(block, Block)
            if note is not None or f"affinity.{i}" in self.reads:
                x_BTLD, q_BTHLd, k_BTHLd, v_BTHLd = block.tap(x_BTLD)
                if note is not None:
                    note(i, q_BTHLd, k_BTHLd, v_BTHLd)
                if f"affinity.{i}" in self.reads:
                    q_BTHPd, k_BTHPd = (self.patches(t) for t in (q_BTHLd, k_BTHLd))
                    found |= affinities(f"affinity.{i}", q_BTHPd, k_BTHPd, self.reads)
            else:
                x_BTLD = block(x_BTLD)
            if f"out.{i}" in self.reads:
                found[f"out.{i}"] = x_BTLD
        if self.proj is not None:
            pooled_BTD = x_BTLD[:, :, 0] if self.pool == "class" else x_BTLD[:, :, 1:].mean(dim=2)
            frames_BTD = self.ln_post(pooled_BTD)
            found["frames"] = frames_BTD @ self.proj.to(frames_BTD.dtype)
        return found

    def patches(self, x: Tensor) -> Tensor:
        """Of (..., L', d) tokens those of the patches, (..., P, d), without what a method put behind them."""
        first = self.prefix_tokens
        return x[..., first : first + self.grid[0] * self.grid[1], :]

    def embed_patches(self, v_BTHLd: Tensor) -> Tensor | None:
        """Each patch in the space that images and texts share, (B, T, P, E); None: this tower has no projection.

        `v_BTHLd` are the values of the last block's attention. They go through its output projection, the final norm
        and the projection: what the class token would be if it looked at that patch alone and forgot what it was.
        MaskCLIP (Zhou, Loy and Dai, ECCV 2022) so replaces the last attention; that residual and MLP are better left
        out is from ClearCLIP (Lan et al., ECCV 2024).
        """
        last = self.transformer.resblocks[-1]
        assert isinstance(last, Block)
        if self.proj is None:
            return None
        x_BTPD = self.ln_post(last.ls_1(last.attn.merge(self.patches(v_BTHLd))))
        return x_BTPD @ self.proj.to(x_BTPD.dtype)


class TextTransformer(nn.Module):
    """The text tower: token ids (K, S) to class embeddings (K, E).

    Seams: `stem` maps (token embeddings, token ids) to embeddings before positions are added; `blocks` replaces the
    transformer blocks.
    """

    def __init__(self, config: CLIPConfig, blocks: list[Block] | None = None, stem: nn.Module | None = None):
        super().__init__()
        sizes = config.text
        if sizes is None:
            raise StillmotionError(
                "these weights hold an image tower only, so class names cannot be encoded; use weights with a text "
                "tower (a local CLIP file, or ViT-B-16:openai) or class embeddings from a file (text features)"
            )
        D, S = sizes.width, sizes.context_length
        self.causal, self.pool, self.eos_id = sizes.causal, sizes.pool, sizes.eos_id
        self.token_embedding = nn.Embedding(sizes.vocab_size, D)
        self.positional_embedding = nn.Parameter(torch.randn(S, D) * 0.01)
        self.stem = stem
        self.transformer = Transformer(blocks or make_blocks(sizes, config))
        self.ln_final = LayerNorm(D)
        self.text_projection = nn.Parameter(torch.randn(D, config.embed_dim) * D**-0.5)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        mask = torch.full((S, S), float("-inf")).triu(1) if sizes.causal else None
        self.mask: Tensor | None
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode token ids (K, S), S up to the context length."""
        end_K = self._ends(tokens)
        if self.causal and self.pool != "last" and not (torch.compiler.is_compiling() or tokens.is_meta):
            # Positions behind the end token cannot influence it, so the longest prompt bounds the work, exactly.
            # Ids on the meta device have no values, so a count is of the length that it is given.
            tokens = tokens[:, : int(end_K.max()) + 1]
        S = tokens.shape[1]
        x_KSD = self.token_embedding(tokens)
        if self.stem is not None:
            x_KSD = self.stem(x_KSD, tokens)
        x_KSD = x_KSD + self.positional_embedding[:S]
        mask = None if self.mask is None else self.mask[:S, :S].to(x_KSD.dtype)
        for block in self.transformer.resblocks:
            x_KSD = block(x_KSD, mask)
        x_KD = x_KSD[torch.arange(tokens.shape[0], device=tokens.device), end_K]
        return self.ln_final(x_KD) @ self.text_projection

    def _ends(self, tokens: Tensor) -> Tensor:
        if self.pool == "last":
            return torch.full((tokens.shape[0],), tokens.shape[1] - 1, device=tokens.device)
        # OpenAI's end token has the largest id; Hugging Face pads with it, and argmax takes the first.
        ends = tokens == self.eos_id if self.pool == "eos" else tokens
        return ends.int().argmax(dim=-1)


def make_blocks(
    sizes: VisionConfig | TextConfig, config: CLIPConfig, kind: Any = Block, where: Container[int] | None = None
) -> list[Block]:
    """The blocks of a tower of a CLIP: of another kind all over, or at some indices (`where`)."""
    numbers = (sizes.width, sizes.heads, sizes.mlp_width, config.activation, sizes.layer_scale)
    return [kind(*numbers) if where is None or i in where else Block(*numbers) for i in range(sizes.layers)]


def describe(config: CLIPConfig, pixels: Preprocess | None = None) -> Backbone:
    """A CLIP of these sizes as a backbone.

    Its towers take `block`, a kind of `Block`, at the blocks `where` (None: all), and a `stem`.
    """
    vision, text = config.vision, config.text

    def make_visual(
        reads: Reads, block: Any = Block, where: Container[int] | None = None, stem: Any = None
    ) -> nn.Module:
        return VisionTransformer(config, reads, make_blocks(vision, config, block, where), stem)

    def make_text(block: Any = Block, where: Container[int] | None = None, stem: Any = None) -> nn.Module:
        return TextTransformer(config, make_blocks(text, config, block, where) if text else None, stem)

    return Backbone(
        kind="clip",
        sizes=config.to_dict(),
        width=vision.width,
        layers=vision.layers,
        grid=vision.grid,
        embed_dim=config.embed_dim,
        pixels=replace(pixels or Preprocess(), size=vision.image_size),
        text=text,
        tokenizer=config.tokenizer,
        seams=True,
        make_visual=make_visual,
        make_text=make_text if text else None,
    )
