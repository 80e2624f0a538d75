"""A model and all it needs to classify a file: five hops from a path to a label."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.weights import load_into
from stillmotion.checkpoint import load_model, untuned_tower
from stillmotion.data.dataset import VideoDataset, read_views
from stillmotion.data.manifest import Manifest, clean_name
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.eval.report import check_finite
from stillmotion.explain import Asked, Explanation, explain
from stillmotion.methods import METHODS, Method
from stillmotion.models.video_clip import VideoClassifier, VideoCLIP


@dataclass(frozen=True)
class Prediction:
    """The best class, its probability, and the probabilities of all classes, most probable first."""

    label: str
    score: float
    scores: dict[str, float]

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable classes and their probabilities."""
        return list(self.scores.items())[:count]


@dataclass(frozen=True)
class Vocabulary:
    """Class names in the order of the logits, and their embeddings (K, E) where a model compares videos with them."""

    classes: tuple[str, ...]
    text: Tensor | None = None


class Classifier:
    """Classifies video files; `classifier("surf.mp4").label`.

    `vocabulary` is read once by each call, and replaced whole by `classifier.classes = [...]`, so that threads may
    predict meanwhile.

    Args:
        model: a torch module that is a `VideoClassifier`; it is put into evaluation mode.
        num_frames: of a view.
        classes, names: class names as the user and as prompts write them; None: alike.
        text: class embeddings (K, E), for a model whose text tower is missing.
        device: where to run; None: the GPU if there is one.
    """

    def __init__(
        self,
        model: VideoClassifier,
        *,
        preprocess: Preprocess,
        sampling: Sampling,
        num_frames: int,
        classes: Sequence[str],
        names: Sequence[str] | None = None,
        text: Tensor | None = None,
        device: str | torch.device | None = None,
    ):
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        module: Any = model  # Python's types have no name for a torch module that is also a VideoClassifier
        self.model = module.to(self.device).eval()
        # Only a model that compares videos with class names has a vocabulary to set.
        self._open = model if isinstance(model, VideoCLIP) and model.open_vocabulary else None
        self.preprocess, self.sampling, self.num_frames = preprocess, sampling, num_frames
        self.untuned: Callable[[], nn.Module | None] | None = None  # how the image tower was, for `explain`
        self.vocabulary = Vocabulary(tuple(classes), None if text is None else text.to(self.device))
        if self._open is not None and text is None and classes:
            self.vocabulary = self.encode(classes, names)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.preprocess.size))
        kind = type(self.model).__name__
        return f"<Classifier: {kind}, {len(self.classes)} classes, {self.num_frames} frames of {size}, {self.device}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits. Assign new ones to an open-vocabulary model."""
        return self.vocabulary.classes

    @classes.setter
    def classes(self, classes: Sequence[str]) -> None:
        self.vocabulary = self.encode(classes)

    @property
    def text(self) -> Tensor | None:
        """Class embeddings (K, E) of an open-vocabulary model, encoded once."""
        return self.vocabulary.text

    def with_classes(self, classes: Sequence[str], *, clean: bool = False) -> "Classifier":
        """The same model for other classes, as `encode`; `clean` writes them as words in prompts."""
        other = copy.copy(self)
        other.vocabulary = self.encode(classes, [clean_name(c) for c in classes] if clean else None)
        return other

    @torch.inference_mode()
    def encode(self, classes: Sequence[str], names: Sequence[str] | None = None) -> Vocabulary:
        """Encode class names, for `score`; `names` are the same as prompts write them (None: alike).
        Raises `StillmotionError`: a model for its own classes only, or names that are missing or given twice.
        """
        if self._open is None:
            raise StillmotionError(
                f"this model was trained for its {len(self.classes)} classes only; use a model with a text tower "
                "(vificlip, zero_shot) for other classes"
            )
        if not classes:
            raise StillmotionError("there are no classes; give at least one name")
        if len(set(classes)) < len(classes):
            twice = next(c for c in classes if list(classes).count(c) > 1)
            raise StillmotionError(f"class {twice!r} is given twice; every name must be unique")
        if self._open.text is None:
            raise StillmotionError(
                "these weights have no text tower, so class names cannot be encoded; pass class embeddings "
                "(--text-features), or a backbone with a text tower (--backbone)"
            )
        tokens = self._open.prompt(list(names or classes)).to(self.device)
        return Vocabulary(tuple(classes), self._open.encode_text(tokens))

    def dataset(self, manifest: Manifest, views: int | None = None, crops: Literal[1, 3] | None = None) -> VideoDataset:
        """Clips as this model reads them at test time, with another number of views if asked."""
        asked = {"views": views, "crops": crops}
        sampling = replace(self.sampling, **{k: v for k, v in asked.items() if v is not None})  # type: ignore[arg-type]
        return VideoDataset(manifest, self.num_frames, sampling, self.preprocess)

    def read(self, path: str | Path) -> Tensor:
        """The test views of a video, (views * crops, T, 3, H, W). Raises `VideoError`: it cannot be read."""
        return read_views(Path(path), self.num_frames, self.sampling, self.preprocess)

    @torch.inference_mode()
    def score(self, views: Tensor, vocabulary: Vocabulary | None = None, name: str = "the video") -> Tensor:
        """Class probabilities (K,) of one video from its views (V, T, 3, H, W), averaged after the softmax.
        Raises `StillmotionError`: there are no classes, or the logits are not finite.

        `vocabulary`, from `encode`, is for this call alone (None: the classifier's); errors say `name`, the video's.
        """
        vocabulary = vocabulary or self.vocabulary
        if not vocabulary.classes:
            raise StillmotionError('this model has no classes yet; assign classifier.classes, or pass --labels "a, b"')
        logits = torch.cat([self.model.classify(view[None].to(self.device), vocabulary.text) for view in views])
        check_finite(logits[None], [name])
        return logits.float().softmax(dim=-1).mean(dim=0)

    def __call__(self, path: str | Path) -> Prediction:
        """Classify a video file.
        Raises `VideoError`: it cannot be read; `StillmotionError`: there are no classes, or the logits are not finite.
        """
        vocabulary = self.vocabulary  # once: another thread may assign classes meanwhile
        scores = self.score(self.read(path), vocabulary, str(path))
        return _prediction(vocabulary, scores)

    def explain(self, video: str | Path, classes: Sequence[str] = ()) -> Explanation:
        """Show where the model looks in one view of a video, and what each frame says alone for the first of `classes`.
        Raises `VideoError`: it cannot be read; `StillmotionError`: a class that the model does not have.

        Each of `classes` (none: the predicted one) has a map, where the model compares patches with class names.
        """
        one, vocabulary = copy.copy(self), self.vocabulary
        one.sampling = replace(self.sampling, views=1, crops=1)
        views = one.read(video)[:1]
        prediction = _prediction(vocabulary, self.score(views, vocabulary, str(video)))
        asked = Asked(vocabulary.classes, vocabulary.text, classes or (prediction.label,))
        return explain(self.model, views.to(self.device), asked, prediction, self.preprocess, self.untuned)


def _prediction(vocabulary: Vocabulary, scores: Tensor) -> Prediction:
    named = {vocabulary.classes[i]: float(scores[i]) for i in scores.argsort(descending=True).tolist()}
    label, best = next(iter(named.items()))
    return Prediction(label, best, named)


def load(path: str | Path, *, backbone: str | None = None, device: str | torch.device | None = None) -> Classifier:
    """Load a trained model from the `model.safetensors` of a run.
    Raises `WeightsError`: the file or its backbone is missing, damaged, or do not fit.

    `backbone` says where to find the weights that the file does not hold, instead of where they came from; `device`
    where to run (None: the GPU if there is one).
    """
    model, card = load_model(Path(path), backbone)
    how = {name: getattr(card, name) for name in ("preprocess", "sampling", "classes", "names")}
    classifier = Classifier(model, num_frames=card.method.num_frames, device=device, **how)
    classifier.untuned = partial(untuned_tower, card, Path(path), backbone)
    return classifier


def from_backbone(
    method: str,
    classes: Sequence[str],
    *,
    backbone: str = "ViT-B-16:openai",
    text_features: Path | None = None,
    clean_names: bool = False,
    device: str | torch.device | None = None,
) -> Classifier:
    """Build an open-vocabulary classifier from CLIP's own weights, untrained.
    Raises `StillmotionError`: a method that must be trained, weights without what is needed, or misshapen embeddings.

    Args:
        method: `zero_shot` or `vificlip`.
        backbone: its weights, see the table of `stillmotion.backbones.load`.
        text_features: `.npy` file with class embeddings (K, E) in the order of `classes`, in place of a text tower.
        clean_names: write names as words in prompts (ApplyEyeMakeup: apply eye makeup).
    """
    if method not in METHODS:
        raise StillmotionError(f"there is no method {method!r}{did_you_mean(method, METHODS)}")
    built: Method = METHODS[method]()
    if not built.needs_text or built.new_parameters():
        raise StillmotionError(
            f"{method} must be trained before it can classify: stillmotion train {method} --data FOLDER, then pass its "
            "model.safetensors"
        )
    if not classes:
        raise StillmotionError(f'{method} needs class names; pass --labels "surfing, skiing, ..."')
    weights = load_backbone(backbone)
    names = [clean_name(c) for c in classes] if clean_names else list(classes)
    text = None if text_features is None else read_text_features(text_features, len(names), weights.backbone.embed_dim)
    model = built.build(weights.backbone, names)
    load_into(model, weights.state, new=(), source=weights.name)
    return Classifier(
        model,
        preprocess=Preprocess(**asdict(weights.backbone.pixels)),
        sampling=Sampling(),
        num_frames=built.num_frames,
        classes=classes,
        names=names,
        text=text,
        device=device,
    )


def read_text_features(path: Path, classes: int, embed_dim: int) -> Tensor:
    """Read class embeddings (K, E) from a `.npy` file, normalized.
    Raises `StillmotionError`: not such a file, another shape, or values that are not finite.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StillmotionError(f"cannot read class embeddings from {path} ({error}); pass a .npy file") from error
    if array.shape != (classes, embed_dim):
        raise StillmotionError(
            f"{path} holds an array of shape {array.shape}, expected ({classes}, {embed_dim}): one row per class name, "
            "of the width of the CLIP model"
        )
    text = torch.from_numpy(array.astype(np.float32))
    if not bool(torch.isfinite(text).all()):
        raise StillmotionError(f"{path} holds NaN or infinite values; compute the embeddings again")
    return F.normalize(text, dim=-1)
