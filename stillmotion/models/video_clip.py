"""One container for every method: an image tower, a temporal module, a head, and a text tower or none."""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.errors import StillmotionError
from stillmotion.models.features import Features
from stillmotion.models.tokenizer import tokenize
from stillmotion.models.words import unknown_words
from stillmotion.progress import say


class VideoClassifier(Protocol):
    """All that evaluation and a `Classifier` know about a model; training knows a `VideoCLIP`."""

    def classify(self, video: Tensor, text: Tensor | None) -> Tensor:
        """Normalized (B, T, 3, H, W) video to (B, K) logits."""

    def forward(self, video: Tensor, tokens: Tensor | None) -> Tensor:
        """The two composed: what a distributed run and an export see."""


class MeanPool(nn.Module):
    """Average the frame embeddings as they are; the head normalizes (ViFi-CLIP, section 3.1)."""

    def forward(self, features: Features) -> Tensor:
        return features["frames"].mean(dim=1)


class CosineHead(nn.Module):
    """Open-vocabulary logits: scaled cosine similarity between the video and the class embeddings.

    Args:
        scale: what the cosine is multiplied with; None: learned, under CLIP's name `logit_scale`.
        bias: add a learned number to every logit, as SigLIP does.
    """

    def __init__(self, scale: float | None = None, bias: bool = False) -> None:
        super().__init__()
        self.fixed = scale
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07))) if scale is None else None
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if bias else None

    def forward(self, video_BE: Tensor, text: Tensor | None, features: Features) -> Tensor:
        """(B, E) videos and (K, E) class embeddings to (B, K) logits."""
        logits = self.scale * (F.normalize(video_BE, dim=-1) @ F.normalize(self.need(text), dim=-1).T)
        return logits if self.logit_bias is None else logits + self.logit_bias

    @property
    def scale(self) -> Tensor | float:
        """What the cosine is multiplied with."""
        return self.fixed if self.fixed is not None else self.learned_scale()

    def learned_scale(self) -> Tensor:
        """One over the learned temperature."""
        assert self.logit_scale is not None
        return self.logit_scale.exp()

    def compared(self, text: Tensor | None, features: Features) -> Tensor:
        """The class embeddings that a video is compared with, normalized: (K, E), or (B, K, E) of each video."""
        return F.normalize(self.need(text), dim=-1)

    def combine(self, text_NKE: Tensor) -> Tensor:
        """Class embeddings of N templates to what `forward` reads: normalized and averaged, as CLIP's ensembles."""
        return F.normalize(text_NKE, dim=-1).mean(dim=0)

    @staticmethod
    def need(text: Tensor | None) -> Tensor:
        """Return the class embeddings.

        Raises `StillmotionError`: there are none.
        """
        if text is None:
            raise StillmotionError("this model compares a video with class embeddings; pass encode_text(prompt(names))")
        return text


class LinearHead(nn.Sequential):
    """Closed-set logits: norm, dropout, linear. Takes no text."""

    def __init__(self, width: int, num_classes: int, dropout: float = 0.5, norm: bool = True):
        first = nn.LayerNorm(width) if norm else nn.Identity()
        super().__init__(first, nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, video_BD: Tensor, text: Tensor | None, features: Features) -> Tensor:  # type: ignore[override]
        return super().forward(video_BD)


class VideoCLIP(nn.Module):
    """Video in, class logits out.

    Args:
        visual: (B, T, 3, H, W) video to `Features`.
        temporal: `Features` to one embedding per video, (B, E).
        head: (B, E), class embeddings (K, E) or None, and the features, to logits (B, K).
        text: (K, S) token ids to class embeddings (K, E); None for a closed set of classes.
        templates: prompts for a class name, with one `{}` each; several are averaged.
        tokenizer: the open_clip model whose tokenizer the text tower was trained with.
    """

    def __init__(
        self,
        visual: nn.Module,
        temporal: nn.Module,
        head: nn.Module,
        text: nn.Module | None = None,
        *,
        templates: Sequence[str] = ("{}",),
        tokenizer: str = "ViT-B-16",
    ):
        super().__init__()
        self.visual, self.temporal, self.head, self.text = visual, temporal, head, text
        self.templates, self.tokenizer = tuple(templates), tokenizer
        self.class_names: tuple[str, ...] = ()
        self.multi_label = False  # whether each class is a question of its own, or all compete for a video

    @property
    def open_vocabulary(self) -> bool:
        """Whether class names can be changed after training."""
        return isinstance(self.head, CosineHead)

    def prompt(self, class_names: Sequence[str]) -> Tensor:
        """Class names to token ids: (K, S), or (templates, K, S) when there are several templates.

        Words of the names that the text tower has never seen (`words.py`) are said; they count as nothing.
        """
        texts = [template.format(name) for template in self.templates for name in class_names]
        table = getattr(self.text, "token_embedding", None)
        tokens = tokenize(texts, self.tokenizer, getattr(table, "num_embeddings", None))
        if unknown := unknown_words(table, class_names, self.tokenizer):
            say(
                f"this backbone's text tower has never seen {', '.join(map(repr, unknown[:10]))}"
                f"{f' and {len(unknown) - 10} more words' if len(unknown) > 10 else ''}, which count as nothing; use "
                "other names, or another backbone"
            )
        return tokens if len(self.templates) == 1 else tokens.unflatten(0, (len(self.templates), -1))

    def encode_text(self, tokens: Tensor) -> Tensor | None:
        """Token ids (K, S), or (N, K, S) of N templates, to class embeddings; the head says how N become one."""
        if self.text is None:
            return None
        if tokens.ndim == 2:
            return self.text(tokens)
        return self.head.combine(self.text(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2]))  # type: ignore[operator]

    def encode_video(self, video: Tensor | Features) -> Tensor:
        """Normalized (B, T, 3, H, W) video, or the image tower's outputs, to (B, E): what the head is given.

        With an open vocabulary it has length 1, as what is compared with class embeddings.
        """
        embedding_BE: Tensor = self.temporal(self.visual(video) if isinstance(video, Tensor) else video)
        return F.normalize(embedding_BE, dim=-1) if self.open_vocabulary else embedding_BE

    def classify(self, video: Tensor | Features, text: Tensor | None = None) -> Tensor:
        """Normalized (B, T, 3, H, W) video to (B, K) logits, with class embeddings that were encoded once.

        In place of a video come the image tower's outputs, where they were computed before.
        """
        features = self.visual(video) if isinstance(video, Tensor) else video
        return self.head(self.temporal(features), text, features)

    def forward(self, video: Tensor | Features, tokens: Tensor | None = None) -> Tensor:
        """Video to (B, K) logits, given token ids (K, S), or class embeddings (K, E) that were encoded before."""
        encoded = tokens is None or tokens.is_floating_point()
        return self.classify(video, tokens if encoded else self.encode_text(tokens))  # type: ignore[arg-type]
