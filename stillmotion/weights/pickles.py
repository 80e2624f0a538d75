"""PyTorch's files, unpickled without running anything that is in them, in memory that the file's own size bounds.

The reader is `pickle`'s in Python: the one in C keeps its memo in an array as long as the largest number that a file
names, and asks for memory before it looks whether the bytes are there.
"""

import io
import math
import mmap
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stillmotion.errors import WeightsError, reason

PICKLE_BYTES = 8 << 20
"""The most that may describe tensors (3,000 take half a megabyte); what a byte can build is bounded by it."""

_DTYPES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
# What `torch.save` and TorchScript write, in any protocol. No sets, and as keys no tuples and no numbers past 2^60: a
# tuple of tuples of tuples takes for ever to hash, and such numbers have equal hashes.
_OPCODES = (
    "MARK STOP POP POP_MARK PROTO FRAME NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINSTRING "
    "SHORT_BINSTRING BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM "
    "SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BINGET LONG_BINGET BINPUT LONG_BINPUT MEMOIZE GLOBAL "
    "STACK_GLOBAL REDUCE NEWOBJ BUILD BINPERSID"
)
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Passive(dict[str, Any]):
    """Stands for an object of a class that a checkpoint names: its attributes, none of its code."""

    def __init__(self, *_: Any, **__: Any):
        super().__init__()


@dataclass(frozen=True)
class _Storage:
    values: Tensor


Fetch = Callable[[str, torch.dtype, int], Tensor]
"""The flat tensor of a storage, by its key, type and number of values."""


def read_pickled(path: Path) -> Any:
    """Read what `torch.save` or TorchScript wrote; every name that is not a tensor's or inert is refused.

    Raises `WeightsError`: not such a file, damaged, larger inside than outside, or one that asks to run code.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive, path)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _read_legacy(content, path)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}); check it and its rights") from error
    except Exception as error:  # a damaged or hostile file may raise anything in the parsers, MemoryError too
        raise WeightsError(
            f"{path} is damaged, or not a checkpoint that can be read safely ({reason(error)}); fetch it again, or "
            "pass safetensors or a state dict saved by torch.save"
        ) from error


def _read_zip(archive: zipfile.ZipFile, path: Path) -> Any:
    members = archive.infolist()
    pickles = [m for m in members if m.filename.endswith("/data.pkl") or m.filename == "data.pkl"]
    if len(pickles) != 1:
        raise WeightsError(f"{path} is a zip file without 'data.pkl'; pass a PyTorch checkpoint")
    packed = any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members)
    unpacked, size = sum(m.file_size for m in members), path.stat().st_size
    if packed or unpacked > 2 * size + (16 << 20) or pickles[0].file_size > PICKLE_BYTES:
        raise WeightsError(
            f"{path} has {size} bytes and unpacks to {unpacked}, {pickles[0].file_size} of them to describe tensors; "
            f"at most twice the file and {PICKLE_BYTES} are read; save it again with torch.save"
        )
    folder, storages = pickles[0].filename.removesuffix("data.pkl"), dict[str, bytearray]()

    def member(name: str) -> bytes:
        info = archive.getinfo(name)
        with archive.open(info) as file:
            return file.read(info.file_size)  # a count: without one, zipfile unpacks gigabytes before it cuts

    def fetch(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        if key not in storages:
            storages[key] = bytearray(member(f"{folder}data/{key}"))
        if len(storages[key]) < numel * dtype.itemsize:
            raise WeightsError(
                f"{path} is cut short: storage {key!r} has {len(storages[key])} bytes, not {numel * dtype.itemsize}; "
                "fetch it again"
            )
        return torch.frombuffer(storages[key], dtype=dtype, count=numel) if numel else torch.empty(0, dtype=dtype)

    return _Unpickler(io.BytesIO(member(pickles[0].filename)), path, size, fetch).load()


def _read_legacy(content: mmap.mmap, path: Path) -> Any:
    """The format of PyTorch before 1.6: five pickles in a row, then each storage as its length and its values."""
    if content[:1] != b"\x80":
        raise ValueError("it does not begin as one")
    storages: dict[str, Tensor] = {}
    held = 0

    def fetch(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        nonlocal held
        if key not in storages:
            held += numel * dtype.itemsize
            if held > len(content):
                raise ValueError(f"the storages up to {key[:40]!r} hold more than the file")
            storages[key] = torch.zeros(numel, dtype=dtype)
        if storages[key].dtype != dtype or storages[key].numel() != numel:
            raise ValueError(f"storage {key[:40]!r} has two types or lengths")
        return storages[key]

    def take(count: int) -> bytearray:
        if count > len(content) - content.tell():
            raise ValueError("it is cut short")
        return bytearray(content.read(count))

    def unpickle() -> Any:
        start, stream = content.tell(), io.BytesIO(content.read(PICKLE_BYTES))
        value = _Unpickler(stream, path, len(content), fetch).load()
        content.seek(start + stream.tell())
        return value

    if unpickle() != _LEGACY_MAGIC or unpickle() != _LEGACY_PROTOCOL or unpickle().get("little_endian") is not True:
        raise ValueError("it does not begin as PyTorch's files do")
    value, keys = unpickle(), unpickle()
    if not isinstance(keys, list) or sorted(keys) != sorted(storages):
        raise ValueError("it does not hold the storages that it names")
    for key in keys:
        if int.from_bytes(take(8), "little") != storages[key].numel():
            raise ValueError(f"storage {key[:40]!r} is not as long as it says")
        if storages[key].numel():
            storages[key].copy_(torch.frombuffer(take(storages[key].nbytes), dtype=storages[key].dtype))
    return value


_Python: Any = pickle._Unpickler  # typeshed has the one in C alone


class _Unpickler(_Python):  # type: ignore[misc]
    """Knows tensors, containers and inert stand-ins; every other global is refused before it is looked up."""

    dispatch = {getattr(pickle, name)[0]: _Python.dispatch[getattr(pickle, name)[0]] for name in _OPCODES.split()}

    def __init__(self, stream: io.BytesIO, path: Path, size: int, fetch: Fetch):
        super().__init__(stream)
        self._path, self._fetch = path, fetch
        # Views of one storage, and one dictionary as the attributes of many objects, cost the file nothing and the
        # reader much. A tensor itself takes half a kilobyte.
        self._room = 4 * size + (64 << 20)
        self._known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): self._ordered,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): _first,
            ("torch", "Size"): _first,
            # Settings that the field's trainers pickle beside their weights: kept as plain dictionaries.
            ("yacs.config", "CfgNode"): Passive,
            ("argparse", "Namespace"): Passive,
            # The lists of a TorchScript archive.
            **{("torch.jit._pickle", f"build_{kind}list"): _first for kind in ("int", "tensor", "double", "bool")},
            ("torch.jit._pickle", "restore_type_tag"): _first,
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a known name."""
        if (module, name) in self._known:
            return self._known[module, name]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module.startswith("__torch__"):  # modules of a TorchScript archive
            return Passive
        raise WeightsError(
            f"{self._path} asks for {f'{module}.{name}'[:100]!r}, which is not a tensor; it was refused and nothing "
            "was run. Pass a safetensors file, or one saved as a plain state dict"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """Read one storage."""
        kind, dtype, key, _, numel, *view = pid if isinstance(pid, tuple) else (None,) * 5
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str) or any(view):
            raise ValueError("an unknown kind of storage")
        return _Storage(self._fetch(key, dtype, *_counts((numel,))))

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        (first,), size, stride = _counts((offset,)), _counts(size), _counts(stride)
        numel = math.prod(size)
        last = first + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if numel and not max(last + 1, numel) <= storage.values.numel():
            raise ValueError(f"a tensor of shape {size} does not fit its storage of {storage.values.numel()} values")
        self._spend(max(512, numel * storage.values.itemsize))
        return storage.values.as_strided(size, stride, first if numel else 0)

    def _spend(self, amount: int) -> None:
        self._room -= amount
        if self._room < 0:
            raise ValueError("what it holds takes more than four times the file")

    def _ordered(self, pairs: Any = ()) -> OrderedDict[Any, Any]:
        made: OrderedDict[Any, Any] = OrderedDict()
        if not isinstance(pairs, (list, tuple)) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
            raise ValueError("a dictionary of something else than pairs")
        self._spend(128 * len(pairs))
        _fill(made, pairs)
        return made

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        if not isinstance(arguments, tuple):
            raise ValueError("arguments that are not a tuple")
        self.stack[-1] = self.stack[-1](*arguments)

    def _new(self) -> None:
        self.stack.pop()
        if self.stack.pop() is not Passive:
            raise ValueError("a new object of no known class")
        self.append(Passive())

    def _build(self) -> None:
        """Attributes of an object: kept of a stand-in, left out of a dictionary; tensors have none that count."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Passive):
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(part, Mapping):
                    self._spend(128 * len(part))
                    target.update({str(k): v for k, v in part.items()})
        elif not isinstance(target, OrderedDict):
            raise ValueError(f"attributes for a {type(target).__name__}")

    def _set(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], (Passive, dict)):
            raise ValueError(f"items for a {type(self.stack[-1]).__name__}")
        _fill(self.stack[-1], zip(items[::2], items[1::2], strict=True))

    def _item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    dispatch |= {
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _new,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _item,
        pickle.SETITEMS[0]: lambda self: self._set(self.pop_mark()),
    }


def _fill(target: dict[Any, Any], pairs: Any) -> None:
    for key, value in pairs:
        if not isinstance(key, (str, bytes, float, type(None))) and not (isinstance(key, int) and abs(key) < 1 << 60):
            raise ValueError(f"a {type(key).__name__} as the key of a dictionary")
        target[key] = value


def _counts(values: Any) -> tuple[int, ...]:
    good = isinstance(values, (list, tuple)) and len(values) <= 32
    if not good or not all(type(v) is int and 0 <= v < 1 << 48 for v in values):
        raise ValueError("sizes that are not whole numbers, or out of range")
    return tuple(values)


def _first(value: Any, *_: Any) -> Any:
    return value
