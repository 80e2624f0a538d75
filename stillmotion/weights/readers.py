"""Read tensors from files of others without running anything that is in them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.errors import WeightsError, did_you_mean, reason
from stillmotion.weights.pickles import Passive, read_pickled

# Where the weights sit in the checkpoints of this field, in the order of trying.
_WRAPPERS = ("model", "state_dict", "model_state_dict")
DEPTH, MODULES = 64, 100_000  # of a TorchScript archive: more is a file that refers to itself


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file, a `torch.save` file or a TorchScript archive (read, not run).

    Wrappers such as {'model': ...} are opened. Tensors keep their names and precisions.

    Raises `WeightsError`: no such file, not a checkpoint, damaged, or one that asks to run code.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {path}{_siblings(path)}")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    return tensors_of(read_pickled(path), path)


def tensors_of(content: Any, path: Path, beside: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """Return the state dict in what `read_pickled` found in a file, see `read_state` and `open_wrappers`."""
    if isinstance(content, Passive) and not any(isinstance(content.get(w), Mapping) for w in _WRAPPERS):
        state = dict(_walk(content, path))  # a TorchScript module: nested attributes
    else:
        state = open_wrappers(content, beside, str(path)) if isinstance(content, Mapping) else {}
    if not state:
        raise WeightsError(f"{path} holds no tensors; pass a checkpoint with a state dict")
    return state


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; a truncated or foreign one is refused in one line."""
    with _safetensors(path):
        return load_file(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text that a safetensors file carries beside its tensors.

    Raises `WeightsError`: not a safetensors file.
    """
    with _safetensors(path), safe_open(path, framework="pt") as file:
        return file.metadata() or {}


@contextmanager
def _safetensors(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # safetensors' own types, which differ between versions
        raise WeightsError(f"{path} is not a readable safetensors file ({reason(error)}); fetch it again") from error


def open_wrappers(
    content: Mapping[Any, Any], beside: Mapping[str, str] | None = None, source: str = "the checkpoint"
) -> dict[str, Tensor]:
    """Tensors of {'model': {...}} and its like.

    Args:
        content: what was unpickled.
        beside: a second state dict that lies beside the first one, and what to put before its names.
        source: what to call it in an error.

    Raises `WeightsError`: a dictionary that holds itself, or a second state dict that is none.
    """
    second: dict[str, Tensor] = {}
    for _ in range(DEPTH):
        inner = next((content[w] for w in _WRAPPERS if isinstance(content.get(w), Mapping)), None)
        if inner is None:
            return {str(k): v for k, v in content.items() if isinstance(v, Tensor)} | second
        for name, prefix in (beside or {}).items():
            part = content.get(name, {})
            if not isinstance(part, Mapping):
                raise WeightsError(f"{source} has a {type(part).__name__} as its {name}, not tensors; fetch it again")
            second |= {f"{prefix}{k.removeprefix('module.')}": v for k, v in open_wrappers(part).items()}
        content = inner
    raise WeightsError(f"{source} holds a dictionary that holds itself; pass a plain state dict")


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights with values that are not numbers or infinite: with them every score would be nan.

    Raises `WeightsError`: there are such values; the first tensor with them is named.
    """
    for name, tensor in state.items():
        # One sum finds them at the speed of memory; it may also overflow, so a bad one is looked at again.
        if tensor.is_floating_point() and not tensor.float().sum().isfinite():
            count = int((~tensor.float().isfinite()).sum())
            if count:
                raise WeightsError(
                    f"{source}: {count} of the {tensor.numel()} values of {name} are nan or infinite; the weights are "
                    "damaged or their training diverged, use others"
                )


def _walk(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Tensor]]:
    stack: list[tuple[str, int, Mapping[str, Any]]] = [("", 0, content)]
    for _ in range(MODULES):
        if not stack:
            return
        prefix, depth, node = stack.pop()
        if depth > DEPTH:
            break
        for key, value in node.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{key}", value
            elif isinstance(value, Mapping):
                stack.append((f"{prefix}{key}.", depth + 1, value))
    raise WeightsError(f"{path} nests modules more than {DEPTH} deep, or holds itself; pass a plain state dict")


def _siblings(path: Path) -> str:
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    return did_you_mean(path.name, weight_names(path.parent))


def weight_names(folder: Path) -> list[str]:
    """Names in a folder that weights may have: files by their ends, and folders that hold such files."""
    beside = list(islice(folder.iterdir(), 200))
    ends = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
    return [p.name for p in beside if p.suffix.lower() in ends or (p / "config.json").is_file()]
