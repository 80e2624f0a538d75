"""A model and all it needs to classify a video: five hops from a path to a label."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.checkpoint import load_model, untuned_tower
from stillmotion.data.dataset import VideoDataset, read_views
from stillmotion.data.inputs import VideoInput, name_of
from stillmotion.data.loader import data_workers
from stillmotion.data.manifest import Manifest, clean_name
from stillmotion.data.many import Outcome, Pace, Reading, outcomes, several
from stillmotion.data.sampling import Average, Sampling
from stillmotion.data.text_features import read_text_features
from stillmotion.data.transforms import Preprocess
from stillmotion.devices import find_device
from stillmotion.errors import StillmotionError
from stillmotion.eval.report import check_finite
from stillmotion.eval.views import average_views
from stillmotion.explain import Asked, Explanation, Untuned, explain
from stillmotion.models.video_clip import VideoClassifier, VideoCLIP
from stillmotion.prediction import Prediction, Vocabulary

T = TypeVar("T")


class Classifier:
    """Classifies videos; `classifier("surf.mp4").label`.

    A video is a path, the content of a file, an open binary file, uint8 RGB frames (T, H, W, 3), a list of images, or
    an opened `Video` (`stillmotion.data.inputs.VideoInput`). Frames in memory are all frames of a video: they are
    sampled and scaled as those of a file are.

    `vocabulary` is read once by each call, and replaced whole by `classifier.classes = [...]`, so that threads may
    predict meanwhile.

    Args:
        model: a torch module that is a `VideoClassifier`; it is put into evaluation mode.
        num_frames: of a view.
        classes, names: class names as the user and as prompts write them; None: alike.
        text: class embeddings (K, E), for a model whose text tower is missing.
        device: where to run, see `stillmotion.devices.find_device`; None: the GPU if there is one.
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
        self.device = find_device(device)
        module: Any = model  # Python's types have no name for a torch module that is also a VideoClassifier
        self.model = module.to(self.device).eval()
        # Only a model that compares videos with class names has a vocabulary to set.
        self._open = model if isinstance(model, VideoCLIP) and model.open_vocabulary else None
        self.preprocess, self.sampling, self.num_frames = preprocess, sampling, num_frames
        self.untuned: Untuned | None = None  # how the image tower was, for `explain`
        self.vocabulary = Vocabulary(tuple(classes), None if text is None else text.to(self.device))
        if self._open is not None and text is None and classes:
            self.vocabulary = self.encode(classes, names)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.preprocess.size))
        kind = type(self.model).__name__
        return f"<Classifier: {kind}, {len(self.classes)} classes, {self.num_frames} frames of {size}, {self.device}>"

    @property
    def multi_label(self) -> bool:
        """Whether each class has a probability of its own, for videos with several labels."""
        return bool(getattr(self.model, "multi_label", False))

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

    def dataset(
        self,
        manifest: Manifest,
        views: int | None = None,
        crops: Literal[1, 3] | None = None,
        average: Average | None = None,
    ) -> VideoDataset:
        """Clips as this model reads them at test time, with another number of views or average of them if asked."""
        asked = {"views": views, "crops": crops, "average": average}
        sampling = replace(self.sampling, **{k: v for k, v in asked.items() if v is not None})  # type: ignore[arg-type]
        return VideoDataset(manifest, self.num_frames, sampling, self.preprocess)

    def read(self, video: VideoInput) -> Tensor:
        """The test views of a video, (views * crops, T, 3, H, W). Raises `VideoError`: it cannot be read."""
        return read_views(video, self.num_frames, self.sampling, self.preprocess)

    def score(self, views: Tensor, vocabulary: Vocabulary | None = None, name: str = "the video") -> Tensor:
        """Class probabilities (K,) of one video from its views (V, T, 3, H, W), averaged as the sampling says.
        Raises `StillmotionError`: there are no classes, or the logits are not finite.

        `vocabulary`, from `encode`, is for this call alone (None: the classifier's); errors say `name`, the video's.
        """
        vocabulary = self._named(vocabulary or self.vocabulary)
        return self._probabilities(self._forward(partial(self.model.classify, text=vocabulary.text), views, 1), name)

    def __call__(self, video: VideoInput) -> Prediction:
        """Classify a video.
        Raises `VideoError`: it cannot be read; `StillmotionError`: there are no classes, or the logits are not finite.
        """
        vocabulary = self.vocabulary  # once: another thread may assign classes meanwhile
        scores = self.score(self.read(video), vocabulary, name_of(video))
        return Prediction.of(vocabulary.classes, scores)

    def explain(self, video: VideoInput, classes: Sequence[str] = ()) -> Explanation:
        """Show where the model looks in one view of a video, and what each frame says alone.
        Raises `VideoError`: it cannot be read; `StillmotionError`: a class that the model does not have, or none.

        `classes` are those to show on the patches, where the model compares these with class names; each frame is
        scored for the first. None: the predicted class.
        """
        one, vocabulary = copy.copy(self), self.vocabulary
        one.sampling = replace(self.sampling, views=1, crops=1)
        views = one.read(video)[:1]
        prediction = Prediction.of(vocabulary.classes, self.score(views, vocabulary, name_of(video)))
        asked = Asked(vocabulary.classes, vocabulary.text, classes or (prediction.label,))
        return explain(self.model, views.to(self.device), asked, prediction, self.preprocess, self.untuned)

    def predict(
        self, videos: Iterable[VideoInput], *, batch: int = 8, workers: int | None = None
    ) -> Iterator[Outcome[Prediction]]:
        """Classify many videos: an `Outcome` for each, in their order, as soon as its batch is done.
        Raises `StillmotionError`: there are no classes. What is wrong with one video is in its outcome.

        Args:
            videos: any iterable of what stands for a video.
            batch: views in one forward pass, of one or several videos.
            workers: processes that read videos; None: none on a CPU, where reading and the model take turns, 8 with a
                GPU.
        """
        vocabulary = self._named(self.vocabulary)
        classify = partial(self.model.classify, text=vocabulary.text)

        def one(logits_VK: Tensor, name: str) -> Prediction:
            return Prediction.of(vocabulary.classes, self._probabilities(logits_VK, name))

        return self._outcomes(videos, classify, one, self._pace(batch, workers), "predicting")

    def embed(self, video: VideoInput) -> Tensor:
        """Embed a video: (E,) float32, what the model's head is given (`VideoCLIP.encode_video`), averaged over views.
        Raises `VideoError`: it cannot be read; `StillmotionError`: the embedding is not finite, or a library's model.

        With an open vocabulary it has length 1 and is what is compared with class embeddings: `embed(x) @ text.T`
        gives cosines, `text` being `classifier.text` scaled to length 1.
        """
        return self._embedding(self._forward(self._encoder(), self.read(video), 1), name_of(video))

    def embeddings(
        self, videos: Iterable[VideoInput], *, batch: int = 8, workers: int | None = None
    ) -> Iterator[Outcome[Tensor]]:
        """Embed many videos, as `embed` and in the manner of `predict`."""
        return self._outcomes(videos, self._encoder(), self._embedding, self._pace(batch, workers), "embedding")

    def _pace(self, batch: int, workers: int | None) -> Pace:
        return Pace(batch, data_workers(workers, self.device.type))

    def _outcomes(
        self,
        videos: Iterable[VideoInput],
        model: Callable[[Tensor], Tensor],
        one: Callable[[Tensor, str], T],
        pace: Pace,
        description: str,
    ) -> Iterator[Outcome[T]]:
        reading = Reading(self.num_frames, self.sampling, self.preprocess)
        forward = partial(self._forward, model, batch=pace.batch)
        return outcomes(several(videos), reading, forward, one, pace, description)

    @torch.inference_mode()
    def _forward(self, model: Callable[[Tensor], Tensor], views: Tensor, batch: int) -> Tensor:
        return torch.cat([model(part.to(self.device)) for part in views.split(batch)]).float()

    def _encoder(self) -> Callable[[Tensor], Tensor]:
        if not isinstance(self.model, VideoCLIP):
            raise StillmotionError(
                "this model is another library's and gives class scores only; embed with a model of stillmotion's own, "
                "zero_shot for one"
            )
        return self.model.encode_video

    def _probabilities(self, logits_VK: Tensor, name: str) -> Tensor:
        check_finite(logits_VK[None], [name])
        return average_views(logits_VK, self.sampling.average, self.multi_label)

    def _embedding(self, embedding_VE: Tensor, name: str) -> Tensor:
        check_finite(embedding_VE[None], [name])
        embedding = embedding_VE.mean(dim=0)
        return (F.normalize(embedding, dim=-1) if self._open is not None else embedding).cpu()

    @staticmethod
    def _named(vocabulary: Vocabulary) -> Vocabulary:
        if not vocabulary.classes:
            raise StillmotionError('this model has no classes yet; assign classifier.classes, or pass --labels "a, b"')
        return vocabulary


def load(
    path: str | Path,
    *,
    backbone: str | None = None,
    device: str | torch.device | None = None,
    classes: Sequence[str] = (),
    text_features: Path | None = None,
) -> Classifier:
    """Load a trained model from the `model.safetensors` of a run.
    Raises `WeightsError`: the file or its backbone is missing, damaged, or do not fit.

    Args:
        backbone: where to find the weights that the file does not hold, instead of where they came from.
        device: where to run; None: the GPU if there is one.
        classes, text_features: class names and a `.npy` file of their embeddings (K, E), for a model that was trained
            with such embeddings and has no text tower; no names: those it was trained on.
    """
    model, card = load_model(Path(path), backbone)
    how = {name: getattr(card, name) for name in ("preprocess", "sampling", "classes", "names")}
    if text_features is not None:
        if not model.open_vocabulary or model.text is not None:
            raise StillmotionError("class embeddings go with a model without a text tower; this one needs none")
        how |= {"classes": tuple(classes) or card.classes, "names": None}
        how["text"] = read_text_features(text_features, len(how["classes"]), card.backbone.embed_dim)
    classifier = Classifier(model, num_frames=card.method.num_frames, device=device, **how)
    classifier.untuned = partial(untuned_tower, card, Path(path), backbone)
    return classifier
