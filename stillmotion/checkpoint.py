"""One safetensors file per model: the tensors that were trained, and a card that says all the rest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch
import typeguard
from safetensors.torch import save_file
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.load import FORMAT, backbone_of, load_backbone, read_card_json
from stillmotion.backbones.weights import TOWERS, Tower, Weights, check_fingerprints, compare, load_into
from stillmotion.data.lists import VIDEO_SUFFIXES
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import OtherWeightsError, WeightsError, did_you_mean, one_line
from stillmotion.files import atomic_write
from stillmotion.methods import ASSEMBLED, METHODS, Method, describe
from stillmotion.models.features import FRAMES
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.version import __version__
from stillmotion.weights.names import matches
from stillmotion.weights.readers import read_safetensors

# The largest number that a card may hold, by the end of its name: it is read before anything of that size is made.
LARGEST = {"parts": 16, "layers": 512, "blocks": 512, "depth": 512, "views": 256, "num_frames": 1024, "stride": 100_000}
LARGEST_OTHER = 1 << 17
_check_type = partial(typeguard.check_type, collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint needs besides its tensors."""

    method: Method
    classes: tuple[str, ...]
    """Raw class names, in the order of the logits."""
    names: tuple[str, ...]
    """The same as prompts write them."""
    backbone: Backbone
    backbone_name: str
    """Where its weights came from."""
    fingerprints: dict[Tower, str]
    """SHA-256 of each tower of the backbone that is not stored, because it was not trained."""
    preprocess: Preprocess
    sampling: Sampling
    tuned_from: dict[Tower, str] = field(default_factory=dict)
    """SHA-256 of each tower that trained, as it was before; older and converted files do not say it."""
    runtime: str = "fp32"
    """How a frozen backbone ran, whose outputs may be in the feature cache."""
    stored: Literal["float16", "int8"] = "float16"
    """How tokens are kept in it."""
    multi_label: bool = False
    """Whether each class has a probability of its own, or those of all add up to 1."""
    training: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration and the results, for the record."""

    def holds(self, name: str) -> bool:
        """Whether a tensor is in the file: it is not part of a tower that was left as it was."""
        return not name.startswith(tuple(self.fingerprints)) or matches(name, self.method.new_parameters())

    def to_json(self) -> str:
        """Write the card as JSON."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        content |= {"format": FORMAT, "version": __version__, "backbone": self.backbone.to_dict()}
        config = describe(self.method)
        content |= {"method": config.pop("name"), "method_config": config}
        content |= {"preprocess": asdict(self.preprocess), "sampling": asdict(self.sampling)}
        return json.dumps(content, allow_nan=False)

    @classmethod
    def from_json(cls, raw: dict[str, Any], source: str) -> "Card":
        """Read a card back; every number and type in it is checked before anything is built.
        Raises `WeightsError`: it is damaged, or for a method or an option that this version does not have.
        """
        try:
            card = cls(
                method=_method(raw["method"], raw["method_config"], source),
                preprocess=of_plain_values(Preprocess, raw["preprocess"]),
                sampling=of_plain_values(Sampling, raw["sampling"]),
                backbone=backbone_of(raw["backbone"], source),
                classes=tuple(raw["classes"]),
                names=tuple(raw["names"]),
                **{k: raw[k] for k in ("backbone_name", "fingerprints", "runtime", "training")},
                tuned_from=raw.get("tuned_from", {}),
                multi_label=raw.get("multi_label", False),
                stored=raw.get("stored", "float16"),
            )
            for name, hint in get_type_hints(cls).items():
                _check_type(getattr(card, name), hint)
            if len(card.names) != len(card.classes) or card.preprocess.size != card.backbone.pixels.size:
                raise ValueError("classes and names, or the sizes of frames, do not agree")
        except WeightsError:
            raise
        except (LookupError, TypeError, AttributeError, ValueError, typeguard.TypeCheckError) as error:
            raise WeightsError(
                f"{source} has a damaged description, or one of a newer version ({one_line(error):.200}); update "
                "stillmotion, or train or convert it again"
            ) from error
        return card


def _method(name: str, config: dict[str, Any], source: str) -> Method:
    if name in ASSEMBLED:
        parts = [{**part} for part in config["parts"]]
        if len(parts) > LARGEST["parts"] or any(part["name"] in ASSEMBLED for part in parts):
            raise ValueError(f"{name} of {len(parts)} parts, or of averages; at most {LARGEST['parts']} are read")
        made = tuple(_method(part.pop("name"), part, source) for part in parts)
        rest = {k: v for k, v in config.items() if k != "parts"}
        found: Method = of_plain_values(ASSEMBLED[name], rest | {"parts": made})
        return found
    if name not in METHODS:
        raise WeightsError(
            f"{source} holds method {name!r:.80}, which stillmotion.methods.METHODS does not have; import the module "
            "that adds it, on the command line by STILLMOTION_IMPORT=my_module"
        )
    method: Method = of_plain_values(METHODS[name], config)
    return method


def of_plain_values(kind: type[Any], content: Mapping[str, Any]) -> Any:
    """A dataclass of plain values from JSON, whose lists become tuples."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    hints = get_type_hints(kind)
    for name, value in values.items():
        _check_type(value, hints[name])
        largest = next((n for end, n in LARGEST.items() if name.endswith(end)), LARGEST_OTHER)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not abs(number) <= largest:  # NaN is not
                raise ValueError(f"{name} is {number}, at most {largest} is read")
    return kind(**values)


def fingerprints(
    model: nn.Module, weights: Weights, new: Sequence[str] = ()
) -> tuple[dict[Tower, str], dict[Tower, str]]:
    """Hashes of the backbone's towers of which no parameter trains but what is `new`, which need not be stored; and of
    the others, as they were before training.
    """
    moved = [n for n, p in model.named_parameters() if p.requires_grad and not matches(n, new)]
    trained = tuple(tower for tower in TOWERS if any(name.startswith(tower) for name in moved))
    present = TOWERS if getattr(model, "text", None) is not None else TOWERS[:1]
    found = {tower: weights.fingerprint(tower) for tower in present}
    return {k: v for k, v in found.items() if k not in trained}, {k: v for k, v in found.items() if k in trained}


def save_model(path: Path, state: Mapping[str, Tensor], card: Card) -> None:
    """Write a checkpoint, whole or not at all: the state without the towers that the card has fingerprints of.
    Raises `DiskError`: the disk is full, or the folder cannot be written to.
    """
    tensors = {k: v.detach().to("cpu").contiguous() for k, v in state.items() if card.holds(k)}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata={"stillmotion": card.to_json()})


def read_card(path: Path) -> Card:
    """Read what a checkpoint says of itself. Raises `WeightsError`: no such file, or not one of ours."""
    if (path / "model.safetensors").is_file():
        raise WeightsError(f"{path} is a folder; pass the model in it, {path / 'model.safetensors'}")
    if not path.is_file():
        beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        near = [p.name for p in beside if p.suffix == ".safetensors" or (p / "model.safetensors").is_file()]
        raise WeightsError(f"no model file {path}{did_you_mean(path.name, near)}")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise WeightsError(f"{path} is a video, where a model belongs: name a model.safetensors of a run")
    if path.suffix.lower() in (".pth", ".pt", ".bin", ".ckpt", ".tar"):
        raise WeightsError(
            f"{path} was not written by stillmotion, whose models end in .safetensors; a checkpoint of a release is "
            f"read by: stillmotion convert {path} --method NAME -o model.safetensors; CLIP's own weights go to "
            "--backbone"
        )
    return Card.from_json(read_card_json(path), str(path))


def load_model(path: Path, backbone: str | None = None) -> tuple[VideoCLIP, Card]:
    """Rebuild a model from its checkpoint, fetching the towers that it does not store.
    Raises `WeightsError`: the file or the weights are missing, damaged, or not those the model was trained on.

    `backbone` says where to find the backbone's weights instead of where they came from; they must be the same ones.
    """
    card = read_card(path)
    state = read_safetensors(path)
    with torch.device("meta"):  # compared before memory is asked for
        expected = card.method.build(card.backbone, card.names).state_dict()
    own = {k: v for k, v in expected.items() if card.holds(k)}
    compare(own, state, str(path))
    weights = None
    if len(own) < len(expected):
        weights = _backbone_weights(card, path, backbone)
        check_fingerprints(card.fingerprints, card.backbone_name, weights)
    model = card.method.build(card.backbone, card.names)
    if weights is not None:
        model.tokenizer = weights.backbone.tokenizer  # a folder's own may have moved with it
        load_into(model, weights.state, new=(*card.method.new_parameters(), "head.*"), source=weights.name)
    model.load_state_dict(state, strict=False)
    model.multi_label = card.multi_label
    return model.eval(), card


def untuned_tower(card: Card, path: Path, backbone: str | None = None) -> tuple[nn.Module, bool] | None:
    """The image tower that a checkpoint's was made of, and whether the file says so: it compares the hash, where it was
    written by an older version names and shapes alone. None: training left the tower as it was.
    Raises `WeightsError`: those weights cannot be had, or are others; `OtherWeightsError`: `backbone`, which was given,
    is another one.
    """
    with torch.device("meta"):
        names = card.method.build(card.backbone, card.names).state_dict()
    if not any(card.holds(name) for name in names if name.startswith("visual.")):
        return None
    weights, tower = _backbone_weights(card, path, backbone), card.backbone.visual(FRAMES)
    state = {k.removeprefix("visual."): v for k, v in weights.state.items() if k.startswith("visual.")}
    compare(tower.state_dict(), state, weights.name)
    expected = card.tuned_from.get("visual.") or card.fingerprints.get("visual.")
    if expected is not None and expected != (found := weights.fingerprint()):
        kind = WeightsError if backbone is None else OtherWeightsError
        raise kind(
            f"{weights.name} is not the backbone that {path} was tuned from ({card.backbone_name}): its image tower "
            f"has hash {found[:12]}, expected {expected[:12]}; pass that one as --backbone"
        )
    tower.load_state_dict(state)
    return tower.eval(), expected is not None


def _backbone_weights(card: Card, path: Path, backbone: str | None) -> Weights:
    name, beside = card.backbone_name, path.parent / Path(card.backbone_name).name
    if not Path(name).exists() and beside.is_file():  # a file that is not there any more
        name = str(beside)
    return load_backbone(backbone or name, image_size=card.backbone.pixels.size)
