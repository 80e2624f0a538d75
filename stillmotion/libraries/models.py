"""Video models of other libraries behind the protocol of ours; their names and layouts end here."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class ForeignVideo(nn.Module):
    """A video model of another library, unchanged, as a `VideoClassifier` with a closed set of classes."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model: Any = model

    def classify(self, video: Tensor, text: Tensor | None = None) -> Tensor:
        """Normalized (B, T, 3, H, W) video to (B, K) logits; takes no text."""
        raise NotImplementedError

    def forward(self, video: Tensor, tokens: Tensor | None = None) -> Tensor:
        return self.classify(video)


class TransformersVideo(ForeignVideo):
    """A video classification model of transformers: TimeSformer, VideoMAE, ViViT, V-JEPA 2."""

    def classify(self, video: Tensor, text: Tensor | None = None) -> Tensor:
        logits: Tensor = self.model(**{self.model.main_input_name: video}).logits
        return logits


class TorchvisionVideo(ForeignVideo):
    """A video model of torchvision, which has time behind the channels: Swin3D, MViT, S3D, R(2+1)D."""

    def classify(self, video: Tensor, text: Tensor | None = None) -> Tensor:
        logits: Tensor = self.model(video.transpose(1, 2))
        return logits


class ClassSubset(ForeignVideo):
    """Some of a model's classes, by their places in its logits; probabilities are then among these alone."""

    def __init__(self, model: ForeignVideo, places: Sequence[int]):
        super().__init__(model)
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.places: Tensor

    def classify(self, video: Tensor, text: Tensor | None = None) -> Tensor:
        logits: Tensor = self.model.classify(video)
        return logits[:, self.places]
