"""Seeded weights and inputs of the golden outputs, rebuilt from each tensor's official name, its shape and a seed.

NumPy's legacy generator is frozen, so these numbers are the same for ever. The official code was run on them once, off
this repository; `*.json` beside this file hold some of its outputs.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).parent
TABLES = (
    "token_embedding.weight", "positional_embedding", "pos_embed", "w1", "w2", "cls_token", "VPT", "VPT_shallow", "ctx",
    "frame_position_embeddings.weight", "embedding.weight", "temporalEmbedding.weight",
)  # fmt: skip
INPUT_FIRST = ("proj", "text_projection", "prompts_visual_proj")  # stored as (in, out)


def normal(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    stream = np.random.RandomState((zlib.crc32(key.encode()) ^ seed) & 0xFFFFFFFF)
    return stream.standard_normal(tuple(shape))


def weight(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """One parameter of an official state dict, float32; none is left at zero."""
    n, leaf = normal(key, shape, seed), key.split(".")[-1]
    if len(shape) == 0:
        n = np.array(2.0)
    elif key.endswith(TABLES) or ".temporal_pos_embed." in key:
        n = n * (0.3 if len(shape) > 1 else 0.1)
    elif len(shape) == 1:
        n = (1 if leaf == "weight" else 0) + 0.1 * n
    else:
        n = n / np.sqrt(shape[0] if leaf in INPUT_FIRST else np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(n)).float()


def video(shape: tuple[int, ...], seed: int, name: str) -> Tensor:
    """The input of a golden, float32."""
    return torch.from_numpy(normal(f"input:{name}", shape, seed)).float()


def load(name: str) -> dict[str, Any]:
    """Read a golden."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def clip_shapes(
    *, width: int, layers: int, patch: int, grid: int, embed: int, text_width: int, text_layers: int, vocab: int = 49408
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an OpenAI state dict."""
    shapes: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (1 + grid * grid, width),
        "visual.proj": (width, embed),
        "visual.conv1.weight": (width, 3, patch, patch),
        "positional_embedding": (77, text_width),
        "text_projection": (text_width, embed),
        "token_embedding.weight": (vocab, text_width),
        "logit_scale": (),
    }
    for norm, size in (("visual.ln_pre", width), ("visual.ln_post", width), ("ln_final", text_width)):
        shapes |= {f"{norm}.weight": (size,), f"{norm}.bias": (size,)}
    for prefix, count, D in (("visual.", layers, width), ("", text_layers, text_width)):
        for i in range(count):
            block = f"{prefix}transformer.resblocks.{i}."
            for part, (out, size) in (
                ("attn.in_proj_", (3 * D, D)),
                ("attn.out_proj.", (D, D)),
                ("mlp.c_fc.", (4 * D, D)),
                ("mlp.c_proj.", (D, 4 * D)),
            ):
                shapes |= {f"{block}{part}weight": (out, size), f"{block}{part}bias": (out,)}
            for norm in ("ln_1", "ln_2"):
                shapes |= {f"{block}{norm}.weight": (D,), f"{block}{norm}.bias": (D,)}
    return shapes


def picked(tensor: Tensor, count: int = 24) -> list[float]:
    """A few numbers spread over a tensor, enough to catch any error of consequence."""
    flat = tensor.detach().double().flatten()
    step = max(1, flat.numel() // count)
    return [round(float(v), 7) for v in flat[::step]]
