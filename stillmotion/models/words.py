"""Words that a text tower does not know: their rows of its token table are zeros, for no caption had them."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from stillmotion.models.tokenizer import tokenize


def unknown_words(table: Any, texts: Sequence[str], tokenizer: str = "ViT-B-16") -> list[str]:
    """Words of which a token table has no row, or not of every part, in the order in which they come first.

    Args:
        table: the `nn.Embedding` of the text tower; None and a table without values know everything.
        texts: class names, without the prompts around them.
        tokenizer: the open_clip model that the text tower's tokenizer is of.
    """
    words = list(dict.fromkeys(word for text in texts for word in text.replace("_", " ").split()))
    if not isinstance(table, nn.Embedding) or table.weight.is_meta or not words:
        return []
    tokens = tokenize(words, tokenizer)
    known = table.weight[tokens].any(dim=-1) | (tokens == tokens[:, -1:])  # one word never fills the context
    return [word for word, fine in zip(words, known.all(dim=1).tolist()) if not fine]
