"""Which model `predict` and `eval` run, and how class names reach it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from stillmotion.errors import StillmotionError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from stillmotion.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """A model, and what it is to know of classes."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model.safetensors of a run; zero_shot or vificlip for CLIP by class names; or a model of another library:
    transformers:FOLDER, transformers:HUB_NAME, torchvision:MODEL, torchvision:MODEL:FILE.pth."""
    labels: str | None = None
    """Class names for an open-vocabulary model, or one without names: separated by commas, or a file with one per line
    or CSV lines id,name."""
    text_features: Path | None = None
    """A .npy file of class embeddings (classes, width) in the order of the labels, in place of a text tower."""
    backbone: str | None = None
    """Weights of the backbone: a path, or a name such as ViT-B-16:openai; None: those the model was trained on."""
    clean_names: bool = False
    """Write class names as words in prompts (ApplyEyeMakeup: apply eye makeup); labels stay as they are."""
    stride: int | None = None
    """Frames from one sampled frame to the next, for other libraries' models; None: see docs/ensembles.md."""
    device: str = "auto"
    """Where to run: auto (the GPU if there is one), cpu, cuda, cuda:1, ..., or mps."""

    def names(self) -> tuple[str, ...] | None:
        """The class names of `labels`."""
        from stillmotion.data.manifest import read_label_map

        if self.labels is None:
            return None
        # os.path.isfile says no to a text too long for a file name; Path.is_file raises.
        if os.path.isfile(self.labels):  # noqa: PTH113
            return read_label_map(Path(self.labels))
        if "," not in self.labels and self.labels.strip().lower().endswith((".txt", ".csv", ".tsv")):
            raise StillmotionError(f'no labels file {self.labels}; mend its name, or name classes: --labels "a, b"')
        names = tuple(name.strip() for name in self.labels.split(",") if name.strip())
        if not names:
            raise StillmotionError('--labels is empty; separate class names by commas: --labels "surfing, skiing"')
        return names

    def accelerator(self) -> "Accelerator":
        """Start Accelerate on the chosen device; under `accelerate launch` it joins the other processes.
        Raises `StillmotionError`: there is no such device.
        """
        from stillmotion.devices import accelerate_on

        return accelerate_on(self.device)

    def by_name(self) -> bool:
        """Whether the model is named by its kind, so that the classes come from the user or the data."""
        from stillmotion.libraries.classifier import is_foreign
        from stillmotion.methods import METHODS

        return self.model in METHODS or is_foreign(self.model)


def open_model(
    choice: ModelChoice, classes: Sequence[str] | None, device: str | None = None, named: bool = True
) -> "Classifier":
    """Load the chosen model for these classes (None: its own), on this device (None: as chosen).
    Raises `StillmotionError`: options that the model does not take, classes that it cannot have, or no such model.

    Without `named` CLIP by class names needs none: it is to embed.
    """
    from stillmotion.classifier import load
    from stillmotion.libraries.classifier import is_foreign, load_foreign
    from stillmotion.methods import METHODS
    from stillmotion.open_vocabulary import from_backbone

    model, where = choice.model, device or choice.device
    if is_foreign(model):
        if choice.text_features is not None or choice.backbone is not None or choice.clean_names:
            raise StillmotionError(
                f"--backbone, --text-features and --clean-names go with CLIP; {model} takes none of them"
            )
        return load_foreign(model, classes, names=choice.names(), stride=choice.stride, device=where)
    if choice.stride is not None:
        raise StillmotionError(
            f"--stride goes with transformers: and torchvision: models; {model} is tested as it was trained"
        )
    if model in METHODS:
        return from_backbone(
            model,
            classes or (() if named else None),
            backbone=choice.backbone or "ViT-B-16:openai",
            text_features=choice.text_features,
            clean_names=choice.clean_names,
            device=where,
        )
    if choice.text_features is not None:
        text, names = choice.text_features, classes or ()
        return load(model, backbone=choice.backbone, device=where, classes=names, text_features=text)
    loaded = load(model, backbone=choice.backbone, device=where)
    wanted = classes if classes is not None else loaded.classes if choice.clean_names else ()
    return loaded.with_classes(wanted, clean=choice.clean_names) if wanted else loaded
