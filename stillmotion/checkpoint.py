"""One safetensors file per model: the tensors that were trained, and a card that says all the rest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import Tensor, nn

from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.trained import FORMAT, read_card_json
from stillmotion.backbones.weights import ClipWeights, check_fingerprints, compare, load_clip, load_into
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError, did_you_mean
from stillmotion.files import atomic_write
from stillmotion.methods import METHODS, Method, name_of
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.version import __version__
from stillmotion.weights.names import matches
from stillmotion.weights.readers import read_safetensors

Tower = Literal["visual.", "text."]
TOWERS: tuple[Tower, ...] = ("visual.", "text.")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint needs besides its tensors."""

    method: Method
    classes: tuple[str, ...]
    """Raw class names, in the order of the logits."""
    names: tuple[str, ...]
    """The same as prompts write them."""
    clip: CLIPConfig
    clip_name: str
    """Where the CLIP weights came from."""
    fingerprints: dict[Tower, str]
    """SHA-256 of each tower of CLIP that is not stored, because it was not trained."""
    preprocess: Preprocess
    sampling: Sampling
    training: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration and the results, for the record."""

    def holds(self, name: str) -> bool:
        """Whether a tensor is in the file: it is not part of a tower that was left as it was."""
        return not name.startswith(tuple(self.fingerprints)) or matches(name, self.method.new())

    def to_json(self) -> str:
        """Write the card as JSON."""
        content = {k: v for k, v in self.__dict__.items() if k not in ("method", "clip", "preprocess", "sampling")}
        content |= {"format": FORMAT, "version": __version__, "method": name_of(self.method)}
        content |= {"method_config": asdict(self.method), "clip": self.clip.to_dict()}
        content |= {"preprocess": self.preprocess.to_dict(), "sampling": asdict(self.sampling)}
        return json.dumps(content)

    @classmethod
    def from_json(cls, raw: dict[str, Any], source: str) -> "Card":
        """Read a card back.

        Raises:
            WeightsError: it is damaged, or for a method or an option that this version does not have.
        """
        try:
            return cls._from_json(raw, source)
        except (KeyError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"{source} has a damaged description, or one of a newer version ({error}); update stillmotion, or "
                "train or convert it again"
            ) from error

    @classmethod
    def _from_json(cls, raw: dict[str, Any], source: str) -> "Card":
        if raw["method"] not in METHODS:
            raise WeightsError(
                f"{source} holds method {raw['method']!r}, which stillmotion.methods.METHODS does not have; import the "
                "module that adds it, on the command line by STILLMOTION_IMPORT=my_module"
            )
        config: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw["method_config"].items()}
        return cls(
            method=METHODS[raw["method"]](**config),
            classes=tuple(raw["classes"]),
            names=tuple(raw["names"]),
            clip=CLIPConfig.from_dict(raw["clip"]),
            clip_name=raw["clip_name"],
            fingerprints=raw["fingerprints"],
            preprocess=Preprocess.from_dict(raw["preprocess"]),
            sampling=Sampling(**raw["sampling"]),
            training=raw["training"],
        )


def fingerprints(model: nn.Module, weights: ClipWeights, new: Sequence[str] = ()) -> dict[Tower, str]:
    """Hashes of CLIP's towers of which no parameter trains but what is `new`: they need not be stored."""
    moved = [n for n, p in model.named_parameters() if p.requires_grad and not matches(n, new)]
    trained = tuple(tower for tower in TOWERS if any(name.startswith(tower) for name in moved))
    present = TOWERS if getattr(model, "text", None) is not None else TOWERS[:1]
    return {tower: weights.fingerprint(tower) for tower in present if tower not in trained}


def save_model(path: Path, state: Mapping[str, Tensor], card: Card) -> None:
    """Write a checkpoint, whole or not at all: the state without the towers that the card has fingerprints of.

    Raises:
        DiskError: the disk is full, or the folder cannot be written to.
    """
    tensors = {k: v.detach().to("cpu").contiguous() for k, v in state.items() if card.holds(k)}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata={"stillmotion": card.to_json()})


def read_card(path: Path) -> Card:
    """Read what a checkpoint says of itself.

    Raises:
        WeightsError: no such file, or not one of ours.
    """
    if (path / "model.safetensors").is_file():
        raise WeightsError(f"{path} is a folder; pass the model in it, {path / 'model.safetensors'}")
    if not path.is_file():
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise WeightsError(f"no model file {path}{did_you_mean(path.name, near) if near else ''}")
    return Card.from_json(read_card_json(path), str(path))


def load_model(path: Path, clip: str | None = None) -> tuple[VideoCLIP, Card]:
    """Rebuild a model from its checkpoint, fetching the CLIP towers that it does not store.

    Args:
        path: a checkpoint.
        clip: where to find the CLIP weights instead of where they came from; they must be the same weights.

    Raises:
        WeightsError: the file or the CLIP weights are missing, damaged, or not those the model was trained on.
    """
    card = read_card(path)
    model = card.method.build(card.clip, card.names)
    state = read_safetensors(path)
    expected = model.state_dict()
    own = {k: v for k, v in expected.items() if card.holds(k)}
    if len(own) < len(expected):
        weights = load_clip(clip or card.clip_name, image_size=card.clip.vision.image_size)
        check_fingerprints(card.fingerprints, card.clip_name, weights)
        load_into(model, weights.state, new=(*card.method.new(), "head.*"), source=weights.name)
    compare(own, state, str(path))
    model.load_state_dict(state, strict=False)
    return model.eval(), card
