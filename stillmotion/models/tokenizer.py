"""Prompts to token ids, by open_clip's tokenizers."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from stillmotion.errors import StillmotionError


def tokenize(texts: Sequence[str], model: str = "ViT-B-16") -> Tensor:
    """Encode texts as (len(texts), context length) int64 token ids, padded with zeros.

    Raises:
        StillmotionError: no text, or one longer than the context (nothing is cut silently).
    """
    if not texts:
        raise StillmotionError("there are no class names to encode; pass at least one")
    tokenizer = _tokenizer(model)
    encode: Callable[[str], list[int]] | None = getattr(tokenizer, "encode", None)
    room = int(tokenizer.context_length) - 2  # the start and the end token
    for text in texts:
        if encode is not None and len(encode(text)) > room:
            raise StillmotionError(f"prompt {text!r} has {len(encode(text))} tokens, at most {room} fit; shorten it")
    tokens = tokenizer(list(texts))
    assert isinstance(tokens, Tensor)
    return tokens.to(torch.int64)


@lru_cache(maxsize=4)
def _tokenizer(model: str) -> Any:
    import open_clip

    return open_clip.get_tokenizer(model)
