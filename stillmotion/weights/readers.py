"""Read tensors from files of others without running anything that is in them."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.errors import WeightsError, did_you_mean

_STORAGES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Where the weights sit in the checkpoints of this field, in the order of trying.
_WRAPPERS = ("model", "state_dict", "model_state_dict")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file, a `torch.save` file or a TorchScript archive (read, not run).

    Wrappers such as {'model': ...} are opened. Tensors keep their names and precisions.

    Raises:
        WeightsError: no such file, not a checkpoint, damaged, or one that asks to run code.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {path}{_siblings(path)}")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    content = read_archive(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    return _unwrap(content, path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; a truncated or foreign one is refused in one line."""
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own types, which differ between versions
        raise WeightsError(f"{path} is not a readable safetensors file ({_line(error)}); fetch it again") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text that a safetensors file carries beside its tensors.

    Raises:
        WeightsError: not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except Exception as error:  # safetensors' own types, which differ between versions
        raise WeightsError(f"{path} is not a readable safetensors file ({_line(error)}); fetch it again") from error


def read_sharded(folder: Path) -> dict[str, Tensor]:
    """Read the weights of a Hugging Face model folder, in one file or several.

    Raises:
        WeightsError: there are none, or they cannot be read.
    """
    state: dict[str, Tensor] = {}
    for file in weight_files(folder):
        state |= read_state(file)
    return state


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of a Hugging Face or open_clip model folder.

    Raises:
        WeightsError: there are none.
    """
    for name in (
        "model.safetensors",
        "open_clip_model.safetensors",
        "pytorch_model.bin",
        "open_clip_pytorch_model.bin",
    ):
        if (folder / name).is_file():
            return [folder / name]
    for index in (folder / "model.safetensors.index.json", folder / "pytorch_model.bin.index.json"):
        if index.is_file():
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return [folder / Path(name).name for name in names]
    raise WeightsError(f"folder {folder} holds no model.safetensors or pytorch_model.bin; pass a CLIP model's folder")


def read_archive(path: Path) -> Any:
    """Unpickle the zip of `torch.save` or TorchScript with a reader that refuses every name it does not know."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
            if len(pickles) != 1:
                raise WeightsError(f"{path} is a zip file without 'data.pkl'; pass a PyTorch checkpoint")
            folder = pickles[0].removesuffix("data.pkl")
            return _Unpickler(archive, folder, path).load()
    except WeightsError:
        raise
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, RuntimeError, ValueError, TypeError,
            IndexError, AttributeError, OSError) as error:  # fmt: skip
        raise WeightsError(f"{path} is a damaged checkpoint ({_line(error)}); fetch it again") from error


class Passive(dict[str, Any]):
    """Stands for an object of a class that a checkpoint names: its attributes, none of its code."""

    def __init__(self, *_: Any, **__: Any):
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, Mapping):
                self.update({str(k): v for k, v in part.items()})


class _Unpickler(pickle.Unpickler):
    """Knows tensors, containers and inert stand-ins; every other global is refused before it is looked up."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, path: Path):
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive, self._folder, self._path = archive, folder, path
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a known name."""
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module.startswith("__torch__"):  # modules of a TorchScript archive
            return Passive
        raise WeightsError(
            f"{self._path} asks for '{module}.{name}', which is not a tensor; it was refused and nothing was run. "
            "Pass a safetensors file, or one saved as a plain state dict"
        )

    def persistent_load(self, pid: Any) -> Tensor:
        """Read one storage as a flat tensor."""
        kind, dtype, key, _, numel = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise WeightsError(f"{self._path} holds an unknown kind of storage {kind!r}; fetch it again")
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            if len(data) < numel * dtype.itemsize:
                raise WeightsError(f"{self._path} is cut short: storage {key} has {len(data)} bytes; fetch it again")
            self._storages[key] = (
                torch.frombuffer(data, dtype=dtype, count=numel) if numel else torch.empty(0, dtype=dtype)
            )
        return self._storages[key]


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if size and min(size) > 0:
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if not 0 <= offset <= last < storage.numel():
            raise ValueError(f"a tensor of shape {tuple(size)} does not fit its storage")
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _first(value: Any, *_: Any) -> Any:
    return value


_KNOWN: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    # Settings that the field's trainers pickle beside their weights: kept as plain dictionaries.
    ("yacs.config", "CfgNode"): Passive,
    ("argparse", "Namespace"): Passive,
    # The lists of a TorchScript archive.
    ("torch.jit._pickle", "build_intlist"): _first,
    ("torch.jit._pickle", "build_tensorlist"): _first,
    ("torch.jit._pickle", "build_doublelist"): _first,
    ("torch.jit._pickle", "build_boollist"): _first,
    ("torch.jit._pickle", "restore_type_tag"): _first,
}


def _read_legacy(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every damaged or hostile file ends here; torch runs nothing with weights_only
        raise WeightsError(
            f"{path} is not a checkpoint that can be read safely ({_line(error)}); "
            "pass safetensors, or a state dict saved by torch.save"
        ) from error


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Passive) and not any(isinstance(v, Mapping) and k in _WRAPPERS for k, v in content.items()):
        state = dict(_walk(content, ""))  # a TorchScript module: nested attributes
        if state:
            return state
    try:
        state = open_wrappers(content) if isinstance(content, Mapping) else {}
    except RecursionError as error:
        raise WeightsError(f"{path} holds a dictionary that holds itself; pass a plain state dict") from error
    if not state:
        raise WeightsError(f"{path} holds no tensors; pass a checkpoint with a state dict")
    return state


def open_wrappers(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Tensors of {'model': {...}} and its like; those of a second state dict (ActionCLIP's head) after `fusion.`."""
    inner = next((content[w] for w in _WRAPPERS if isinstance(content.get(w), Mapping)), None)
    if inner is not None:
        second = content.get("fusion_model_state_dict")
        second = open_wrappers(second) if isinstance(second, Mapping) else {}
        return open_wrappers(inner) | {f"fusion.{k.removeprefix('module.')}": v for k, v in second.items()}
    return {str(k): v for k, v in content.items() if isinstance(v, Tensor)}


def _walk(node: Mapping[str, Any], prefix: str) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for key, value in node.items():
        if isinstance(value, Tensor):
            found.append((prefix + key, value))
        elif isinstance(value, Mapping):
            found += _walk(value, f"{prefix}{key}.")
    return found


def _siblings(path: Path) -> str:
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    return did_you_mean(path.name, [p.name for p in list(path.parent.iterdir())[:200]])


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
