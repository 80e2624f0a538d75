"""Prompts to token ids, by open_clip's tokenizers."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stillmotion.errors import StillmotionError, missing, reason

_LOCAL = "local-dir:"
# What a folder may set. Others make open_clip read files elsewhere, or transformers run code of the folder.
_OPTIONS = {"clean", "strip_sep_token", "reduction_mask", "additional_special_tokens", "context_length"}


def tokenize(texts: Sequence[str], model: str = "ViT-B-16", vocab_size: int | None = None) -> Tensor:
    """Encode texts as (len(texts), context length) int64 token ids, padded as the tokenizer does.

    Args:
        texts: at least one.
        model: open_clip's name of a model, or `local-dir:` and an open_clip model folder that holds its own tokenizer.
        vocab_size: rows of the text tower's token table; None leaves it unchecked.

    Raises `StillmotionError`: no text, one longer than the context (nothing is cut silently), a tokenizer that cannot
    be had, or one with more ids than the text tower.
    """
    if not texts:
        raise StillmotionError("there are no class names to encode; pass at least one")
    tokenizer = _tokenizer(model)
    for text in texts:
        count, room = _lengths(tokenizer, text)
        if count > room:
            raise StillmotionError(f"prompt {text!r} has {count} tokens, at most {room} fit; shorten it")
    tokens = tokenizer(list(texts))
    assert isinstance(tokens, Tensor)
    largest = int(tokens.max())
    if vocab_size is not None and largest >= vocab_size:
        raise StillmotionError(
            f"the tokenizer of {model} gives id {largest}, the text tower knows {vocab_size} tokens; pass the backbone "
            "as the folder that holds its own tokenizer"
        )
    return tokens.to(torch.int64)


def _lengths(tokenizer: Any, text: str) -> tuple[int, int]:
    """How many tokens a text has, and how many fit, both without those that the tokenizer adds."""
    room = int(tokenizer.context_length)
    if hasattr(tokenizer, "encode"):
        return len(tokenizer.encode(text)), room - 2  # the start and the end token
    inner = tokenizer.tokenizer  # of transformers
    clean = getattr(tokenizer, "clean_fn", str)
    added = 3 if getattr(tokenizer, "tokenizer_mode", "") == "clips" else inner.num_special_tokens_to_add()
    return len(inner(clean(text), add_special_tokens=False, verbose=False).input_ids), room - added


@lru_cache(maxsize=4)
def _tokenizer(model: str) -> Any:
    import open_clip

    try:
        if not model.startswith(_LOCAL):
            if model not in open_clip.list_models():
                raise ValueError("open_clip has no such model")
            return open_clip.get_tokenizer(model)
        config = Path(model.removeprefix(_LOCAL)) / "open_clip_config.json"
        text = json.loads(config.read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
        if odd := sorted(text.get("tokenizer_kwargs", {}).keys() - _OPTIONS):
            raise ValueError(f"its tokenizer_kwargs set {', '.join(odd)[:80]}, which is not followed")
        return open_clip.get_tokenizer(model, **({"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}))
    except ImportError as error:
        raise missing("transformers", f"the tokenizer of {model}") from error
    except Exception as error:  # files of others are parsed, and the hub has errors of its own
        raise StillmotionError(
            f"the tokenizer of {model} cannot be had ({reason(error)}); pass the backbone as an open_clip folder with "
            "the files of its tokenizer"
        ) from error
