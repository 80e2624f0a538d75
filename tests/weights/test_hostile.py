"""Files that are made to hurt: each is one line in seconds, runs nothing, and asks for no memory of its own choice."""

import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stillmotion.backbones.load import load_backbone
from stillmotion.errors import VideoError, WeightsError
from stillmotion.weights.readers import check_finite, open_wrappers, read_state
from tests.weights.crafted import archive, group, legacy, name, number, state, storage, tensor, text

FOUR = struct.pack("<4f", 1, 2, 3, 4)
GOOD = tensor(storage(4), (4,), (1,))
ROOM = 384 << 20


@contextmanager
def little_memory() -> Iterator[None]:
    """A little above what the process has: what asks for more fails with MemoryError, and not with the machine."""
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(path: Path, match: str, call: Callable[[Path], object] = read_state) -> None:
    started = time.perf_counter()
    with pytest.raises(WeightsError, match=match) as error, little_memory():
        call(path)
    assert time.perf_counter() - started < 5
    assert "\n" not in str(error.value) and path.name in str(error.value) and len(str(error.value)) < 600
    assert not isinstance(error.value.__cause__, MemoryError), "memory was asked for before it was refused"


def test_the_crafted_files_can_be_good(tmp_path: Path) -> None:
    """So that those below are refused for what is wrong in them alone."""
    both = state(a=GOOD, b=tensor(storage(4), (2, 2), (1, 2)))
    for path in (archive(tmp_path / "a.pt", both, s0=FOUR), legacy(tmp_path / "b.pt", both, {"0": FOUR})):
        read = read_state(path)
        assert read["a"].tolist() == [1, 2, 3, 4]
        assert read["b"].tolist() == [[1, 3], [2, 4]]


def test_names_with_line_breaks_leave_a_message_one_line(tmp_path: Path, tiny_clip: Path) -> None:
    state = load_file(tiny_clip)
    state["visual.transf\nrmer.\x1b[2J"] = state.pop("visual.ln_post.bias")
    save_file(state, tmp_path / "named.safetensors")
    refused(tmp_path / "named.safetensors", r"visual\.transf rmer", lambda path: load_backbone(str(path)))
    error = pickle.loads(pickle.dumps(VideoError("a\n  b  c")))
    assert (type(error), str(error)) == (VideoError, "a b  c"), "data workers send them"


def built(target: bytes, content: bytes) -> bytes:
    return target + content + b"b"


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_attributes_of_a_tensor_are_refused(tmp_path: Path, form: str) -> None:
    """`Tensor.__setstate__` calls `set_`, which gives a tensor of memory that nobody wrote."""
    shape = group(number(1000)) + group(number(1))
    evil = state(a=built(GOOD, group(storage(4), number(0), shape)))
    evil_of_tensors = state(a=built(GOOD, group(GOOD, number(0), shape)))
    for content in (evil, evil_of_tensors):
        path = tmp_path / "a.pt"
        path = archive(path, content, s0=FOUR) if form == "zip" else legacy(path, content, {"0": FOUR})
        refused(path, "attributes for a Tensor")


@pytest.mark.parametrize(
    "opcode",
    [
        b"r" + struct.pack("<I", 200_000_000),  # LONG_BINPUT
        b"r" + struct.pack("<I", 2**31),
        b"r" + struct.pack("<I", 2**32 - 1),
        b"\x8e" + struct.pack("<Q", 2**40),  # BINBYTES8
        b"\x8d" + struct.pack("<Q", 2**40),  # BINUNICODE8
        b"\x96" + struct.pack("<Q", 2**33),  # BYTEARRAY8
        b"B" + struct.pack("<I", 2**32 - 1),  # BINBYTES
        b"X" + struct.pack("<I", 2**32 - 1),  # BINUNICODE
        b"\x8b" + struct.pack("<i", 2**31 - 1),  # LONG4
        b"\x95" + struct.pack("<Q", 2**40),  # FRAME
    ],
    ids=lambda opcode: f"{opcode[0]:#x}",
)
def test_counts_that_are_not_there(tmp_path: Path, opcode: bytes) -> None:
    path = archive(tmp_path / "a.pt", state(a=GOOD) + opcode, s0=FOUR)
    if opcode[:1] in (b"r", b"\x95"):  # allowed, and costs nothing
        assert read_state(path)["a"].tolist() == [1, 2, 3, 4]
        return
    refused(path, "damaged")
    refused(legacy(tmp_path / "b.pt", state(a=GOOD) + opcode, {"0": FOUR}), "damaged")


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_unpack_to_much_more(tmp_path: Path, packing: int) -> None:
    size = 64 << 20
    refused(
        archive(tmp_path / "a.pt", state(a=tensor(storage(size // 4), (2,), (1,))), packing, s0=bytes(size)),
        "unpacks to",
    )
    refused(archive(tmp_path / "b.pt", state(a=GOOD) + b"]0" * (8 << 20), packing, s0=FOUR), "unpacks to")
    refused(archive(tmp_path / "c.pt", state(a=GOOD) + b"]0" * (8 << 20), s0=FOUR), "to describe tensors")


def test_a_member_that_is_longer_than_it_says(tmp_path: Path) -> None:
    """The size in the zip's index is a lie; no more than it says is unpacked."""
    path = archive(tmp_path / "a.pt", state(a=GOOD), zipfile.ZIP_DEFLATED, s0=bytes(600 << 20))
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = content.rindex(mark, 0, content.rindex(b"archive/data/0") if mark == b"PK\x01\x02" else len(content))
        content[place + at : place + at + 4] = struct.pack("<I", 16)
    path.write_bytes(bytes(content))
    refused(path, "damaged|unpacks")


def test_tensors_that_hold_more_than_their_storage(tmp_path: Path) -> None:
    for size, stride in [((1 << 31,), (0,)), ((1 << 20, 1 << 20), (0, 0)), ((5,), (0,)), ((4, 2), (0, 1))]:
        content = state(a=tensor(storage(4), size, stride))
        refused(archive(tmp_path / "a.pt", content, s0=FOUR), "does not fit its storage")
        refused(legacy(tmp_path / "b.pt", content, {"0": FOUR}), "does not fit its storage")
    big, once = 1 << 20, tensor(storage(1 << 20), (1 << 20,), (1,))
    many = state(**{f"a{i}": once for i in range(64)})
    refused(archive(tmp_path / "c.pt", many, s0=bytes(4 * big)), "more than four times the file")
    for bad in (number(-1), b"N", b"\x88", text("4"), b"G" + bytes(8), number(1 << 60)):
        broken = GOOD.replace(group(number(4)), group(bad), 1)
        refused(archive(tmp_path / "d.pt", state(a=broken), s0=FOUR), "sizes that")
    refused(archive(tmp_path / "e.pt", state(a=tensor(storage(8), (4,), (1,))), s0=FOUR), "is cut short")
    refused(legacy(tmp_path / "f.pt", state(a=tensor(storage(1 << 40), (4,), (1,))), {"0": FOUR}), "more than the file")
    refused(legacy(tmp_path / "g.pt", state(a=GOOD), {}), "does not hold the storages")


PASSIVE = name("argparse", "Namespace") + b")\x81"


def test_what_is_nested_or_shared_without_end(tmp_path: Path) -> None:
    levels = 100_000
    nested = (PASSIVE + b"}" + text("a")) * levels + GOOD + b"sb" * levels
    refused(archive(tmp_path / "deep.pt", nested, s0=FOUR), "holds itself")
    shared = PASSIVE + b"q\x00"
    for i in range(60):  # each holds the last one twice: 2^60 paths to the first
        shared += PASSIVE + b"}" + text("a") + bytes([0x68, i]) + b"s" + text("b") + bytes([0x68, i])
        shared += b"sb" + bytes([0x71, i + 1])
    refused(archive(tmp_path / "shared.pt", shared), "holds itself")
    pairs = b")q\x000" + b"".join(bytes([0x68, i, 0x68, i, 0x86, 0x71, i + 1, 0x30]) for i in range(60)) + b"h\x3c"
    hashed = b"}" + pairs + b"Ns"
    refused(archive(tmp_path / "hash.pt", hashed), "as the key of a dictionary")
    refused(
        archive(tmp_path / "pairs.pt", name("collections", "OrderedDict") + b"]" + pairs + b"N\x86a\x85R"),
        "as the key of a",
    )
    equal = (
        b"(" + b"".join(b"\x8a\x0d" + (i * (2**61 - 1)).to_bytes(13, "little") + b"N" for i in range(1, 200_000)) + b"u"
    )
    refused(archive(tmp_path / "equal.pt", b"}" + equal), "a int as the key of a dictionary")
    wide = b"}q\x00(" + b"".join(text(f"{i:x}") + b"N" for i in range(200_000)) + b"u"
    refused(archive(tmp_path / "build.pt", wide + (PASSIVE + b"h\x00b0") * 50_000), "more than four times the file")
    paired = b"]q\x00(" + (text("a") + b"N\x86") * 200_000 + b"e"
    ordered = (name("collections", "OrderedDict") + b"h\x00\x85R0") * 50_000
    refused(archive(tmp_path / "ordered.pt", paired + ordered), "more than four times the file")
    refused(
        archive(tmp_path / "tensor.pt", tensor(storage(1 << 24), (1 << 24,), (1,)) + b"Q", s0=bytes(1 << 26)), "storage"
    )
    refused(archive(tmp_path / "lists.pt", b"]" * 100_000 + b"a" * 99_999), "holds no tensors")
    ring: dict[str, object] = {}
    ring["model"] = ring
    torch.save(ring, tmp_path / "ring.pt")
    refused(tmp_path / "ring.pt", "holds itself")
    wide: dict[str, object] = {"x": torch.ones(1)}
    for _ in range(40):
        wide = {"model": wide, "fusion_model_state_dict": wide}
    assert open_wrappers(wide, {"fusion_model_state_dict": "fusion."}).keys() == {"x", "fusion.x"}


@pytest.mark.parametrize(
    "content",
    [
        GOOD + b"(" + number(0) + number(1) + b"u" + b"0" + state(a=GOOD),  # items of a tensor
        GOOD + number(0) + number(1) + b"s",
        GOOD + GOOD + b"R",  # a tensor called
        GOOD + b")\x81",  # and made anew
        name("torch", "FloatStorage") + b")R",
        name("argparse", "Namespace") + GOOD + b"R",  # a tensor as arguments: one object for each value
        state(a=name("torch._utils", "_rebuild_tensor_v2") + group(GOOD, number(0), group(), group()) + b"R"),
        text("storage") + b"Q",
        b"(ios\nsystem\n",  # INST
        b"\x8c\x02os\x8c\x06system\x93",  # STACK_GLOBAL
        b"\x82\x01",  # EXT1
        b"0" * 20,
        b"",
    ],
)
def test_opcodes_where_they_do_not_belong(tmp_path: Path, content: bytes) -> None:
    refused(archive(tmp_path / "a.pt", content, s0=FOUR), "damaged|nothing was run")
    refused(legacy(tmp_path / "b.pt", content, {"0": FOUR}), "damaged|nothing was run")


def test_three_thousand_tensors_take_no_time(tmp_path: Path) -> None:
    torch.save({f"blocks.{i}.weight": torch.full((4,), float(i)) for i in range(3000)}, tmp_path / "a.pt")
    started = time.perf_counter()
    read = read_state(tmp_path / "a.pt")
    assert time.perf_counter() - started < 1
    assert len(read) == 3000 and float(read["blocks.2999.weight"].sum()) == 4 * 2999


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_old_files_are_read_as_pytorch_reads_them(tmp_path: Path, protocol: int) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    tied = torch.arange(6.0).reshape(2, 3)
    content = {
        "model": model.state_dict() | {"half": torch.ones(2).half(), "tied": tied, "also": tied.T, "no": tied[:0]}
    }
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    assert not zipfile.is_zipfile(tmp_path / "old.pt")
    read = read_state(tmp_path / "old.pt")
    assert read.keys() == content["model"].keys()
    assert all(torch.equal(read[k], v) and read[k].dtype == v.dtype for k, v in content["model"].items())
    whole = (tmp_path / "old.pt").read_bytes()
    for cut in (1, 20, 200, len(whole) - 3):
        (tmp_path / "cut.pt").write_bytes(whole[:cut])
        refused(tmp_path / "cut.pt", "damaged")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_that_are_no_numbers(dtype: torch.dtype) -> None:
    large = torch.full((1000,), torch.finfo(dtype).max, dtype=dtype)  # its sum is infinite, it is not
    good = {"a": torch.ones(3, dtype=dtype), "n": torch.tensor(3), "e": torch.empty(0, dtype=dtype)}
    check_finite(good | ({"large": large} if dtype != torch.float64 else {}), "clip.pt")
    for value in (float("nan"), float("inf"), -float("inf")):
        bad = torch.ones(2, 3, dtype=dtype)
        bad[0, 1] = bad[1, 2] = value
        with pytest.raises(WeightsError, match=r"clip\.pt: 2 of the 6 values of b are nan or infinite"):
            check_finite(good | {"b": bad}, "clip.pt")


def test_a_backbone_with_nan_is_refused(tmp_path: Path, tiny_clip: Path) -> None:
    read = read_state(tiny_clip)
    read["visual.proj"][3, 4] = float("nan")
    save_file(read, tmp_path / "nan.safetensors")
    refused(tmp_path / "nan.safetensors", r"1 of the 2048 values of visual\.proj", lambda p: load_backbone(str(p)))
