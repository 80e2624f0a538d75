"""Write PyTorch files byte by byte, as nobody's `torch.save` would."""

import pickle
import struct
import zipfile
from pathlib import Path


def number(value: int) -> bytes:
    """A whole number of 32 bits, or of any length."""
    return b"J" + struct.pack("<i", value) if abs(value) < 1 << 31 else b"\x8a\x08" + struct.pack("<q", value)


def text(value: str) -> bytes:
    """A string."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def group(*parts: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(parts) + b"t"


def name(module: str, attribute: str) -> bytes:
    """A global."""
    return b"c" + f"{module}\n{attribute}\n".encode()


def storage(numel: int, key: str = "0", kind: str = "FloatStorage") -> bytes:
    """A reference to a storage."""
    return group(text("storage"), name("torch", kind), text(key), text("cpu"), number(numel)) + b"Q"


def tensor(flat: bytes, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """A view of a storage."""
    shapes = (group(*map(number, numbers)) for numbers in (size, stride))
    hooks = name("collections", "OrderedDict") + b")R"
    return name("torch._utils", "_rebuild_tensor_v2") + group(flat, number(offset), *shapes, b"\x89", hooks) + b"R"


def state(**values: bytes) -> bytes:
    """A dictionary."""
    return b"}" + b"".join(text(key) + value + b"s" for key, value in values.items())


def archive(path: Path, content: bytes, packing: int = zipfile.ZIP_STORED, **storages: bytes) -> Path:
    """A zip file as `torch.save` writes them; storages are named `s0`, `s1`."""
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + content + b".")
        for key, values in storages.items():
            file.writestr(f"archive/data/{key.removeprefix('s')}", values)
    return path


def legacy(path: Path, content: bytes, storages: dict[str, bytes]) -> Path:
    """A file of PyTorch before 1.6, of float32 storages."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    whole = b"".join(pickle.dumps(part, 2) for part in head) + b"\x80\x02" + content + b"."
    whole += pickle.dumps(list(storages), 2)
    for values in storages.values():
        whole += struct.pack("<q", len(values) // 4) + values
    path.write_bytes(whole)
    return path
