"""Harnesses that do damage on purpose, and what they share: a small world, commands run apart, and rows of a table.

`python -m tests.faults.NAME --count N --seed S` prints a row for each kind of damage, `| what (count) | held | fell |`,
and exits with 1 if anything fell; without --count at the counts of docs/reliability.md.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

import stillmotion.cli
import stillmotion.experiment
import stillmotion.features.store
from stillmotion.errors import StillmotionError
from stillmotion.files import sha256
from tests.conftest import write_tiny_clip
from tests.videos import write_video

HUNG = 120.0


@dataclass
class World:
    """Eight clips of two classes and a tiny CLIP in a folder; `command` makes the words of a small run."""

    folder: Path

    def __post_init__(self) -> None:
        self.clip = write_tiny_clip(self.folder / "tiny.safetensors")
        for i in range(8):
            label = ("left", "right")[i % 2]
            write_video(self.folder / "clips" / label / f"{i}.mp4", 8 + i, seed=i, direction=2 * (i % 2) - 1)

    def command(self, out: Path, recipe: str = "evl", do: str = "train", **options: object) -> list[str]:
        """Nine steps, a state after each, and a cache of its own."""
        small = {"layers": 2, "cache": out.parent / f"{out.name}_cache"} if recipe == "evl" else {"warmup": 0}
        train = {"epochs": 3, "batch_size": 2, "save_minutes": 0, "workers": 0, "device": "cpu", "num_frames": 4}
        given = {"data": self.folder / "clips", "backbone": self.clip, "out": out, **train, **small, **options}
        return [do, recipe, *(w for k, v in given.items() for w in (f"--{k.replace('_', '-')}", str(v)))]


@dataclass
class Child:
    """A command in a forked process, which has all modules already; killed when it hangs."""

    pid: int
    log: Path
    started: float
    seconds: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    code: int = 0

    def wait(self, most: float = HUNG) -> "Child":
        """Its exit code, or minus its signal; -9 also where it hung."""
        while not (done := os.wait4(self.pid, os.WNOHANG))[0]:
            time.sleep(0.002)
            if time.monotonic() - self.started > most:
                os.kill(self.pid, signal.SIGKILL)
        self.seconds, usage = time.monotonic() - self.started, done[2]
        self.code, self.peak = os.waitstatus_to_exitcode(done[1]), usage.ru_maxrss * 1024
        self.cpu = usage.ru_utime + usage.ru_stime
        return self

    @property
    def said(self) -> str:
        """What it printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def error(self) -> str:
        """What is wrong with how it ended, which is well or with code 2 and one line; empty: nothing."""
        lines = [line for line in self.said.splitlines() if line.startswith("error: ")]
        fine = self.code == 0 or (self.code == 2 and len(lines) == 1 and len(lines[0]) < 5000)
        return "" if fine and "Traceback" not in self.said else f"code {self.code}: {self.said[-1500:]}"


def fork(call: Callable[[], object], log: Path, before: Callable[[], object] | None = None) -> Child:
    """Start a call apart; `before` prepares its process."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Child(pid, log, time.monotonic())
    code = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1), os.dup2(file, 2)
        if before is not None:
            before()
        call()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        print(stop.code)
    except StillmotionError as error:  # as the command line has it
        code = 2
        print(f"error: {error}")
    except BaseException as error:
        traceback.print_exc()
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    with contextlib.suppress(BaseException):
        sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)


def command(words: list[str], before: Callable[[], object] | None = None) -> Child:
    """Start a command of the command line apart."""
    return fork(lambda: stillmotion.cli.main(words), Path(tempfile.mkstemp(suffix=".log")[1]), before)


def until(condition: Callable[[], bool], child: Child, most: float = HUNG) -> None:
    """Wait for something that a child brings about. Raises `TimeoutError` with what it printed: it takes too long."""
    while not condition():
        time.sleep(0.005)
        if time.monotonic() - child.started > most:
            os.kill(child.pid, signal.SIGKILL)
            raise TimeoutError(f"waited {most:g} s for a command that printed {child.said[-1500:]!r}")


def limit(kind: int, amount: int) -> Callable[[], None]:
    """What sets a limit of a process; an address space is counted from what it has."""
    if kind == resource.RLIMIT_AS:
        amount += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return lambda: resource.setrlimit(kind, (amount, resource.getrlimit(kind)[1]))


def metrics(run: Path) -> list[dict[str, Any]]:
    """Lines of a run's metrics without the time that they took and waited."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "waited")} for line in lines]


def result(run: Path) -> tuple[object, ...]:
    """All that a finished run gives but the time that it took."""
    first, *predictions = (run / "predictions.jsonl").read_text().splitlines()
    head = {k: v for k, v in json.loads(first).items() if k != "seconds"}
    with safe_open(run / "model.safetensors", "pt") as file:
        names, card = sorted(file.keys()), json.loads(file.metadata()["stillmotion"])
        state = [(name, digest(file.get_tensor(name))) for name in names]
    return state, card, head, predictions, metrics(run)


def features(cache: Path) -> dict[str, str]:
    """Digest of every tensor of a feature cache that an index names, by item and output."""
    found: dict[str, str] = {}
    for index in sorted(cache.glob("*/shard-*.json")):
        content = json.loads(index.read_text())
        with safe_open(index.with_suffix(".safetensors"), "pt") as shard:
            for name in (f"{item}/{output}" for item in content["items"] for output in content["outputs"]):
                value = digest(shard.get_tensor(name))
                if found.setdefault(name, value) != value:
                    raise AssertionError(f"{name} is there twice and differs")
    return found


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's bytes."""
    return hashlib.sha256(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


class Run:
    """A command that writes into two folders, and what it gives there when nothing disturbs it."""

    def __init__(self, world: World, recipe: str = "evl", do: str = "train", **options: object):
        self.do, self.out, self.cache = do, world.folder / "run", world.folder / "run_cache"
        self.words = world.command(self.out, recipe, do, **options)
        whole = command(self.words).wait()
        if whole.code:
            raise SystemExit(f"what nothing disturbs fails; the rest would mean nothing: {whole.said}")
        self.seconds, self.expected = whole.seconds, self.gives()

    def gives(self) -> object:
        """All features, or the model to the bit and all that was measured."""
        return (
            features(self.cache) if self.do == "encode" else (sha256(self.out / "model.safetensors"), result(self.out))
        )

    def clear(self) -> None:
        """Start from nothing."""
        for folder in (self.out, self.cache):
            shutil.rmtree(folder, ignore_errors=True)

    def age(self) -> None:
        """Let a day pass for what a killed process left."""
        for path in (p for folder in (self.out, self.cache) for p in folder.rglob("*")):
            os.utime(path, (time.time() - 86_400,) * 2)

    def settle(self) -> str:
        """Run again, to the end; says what is wrong then, nothing where all is as if nothing had happened."""
        self.age()
        last = command(self.words).wait()
        if last.error() or (last.code and "holds this run, finished" not in last.said):
            return last.error() or last.said
        left = [str(p) for folder in (self.out, self.cache) for p in folder.rglob(".*") if p.name != ".lock"]
        left += [str(p) for p in self.cache.rglob("shard-*.safetensors") if not p.with_suffix(".json").exists()]
        return f"left behind {left}" if left else "" if self.gives() == self.expected else "another result"


@dataclass
class Row:
    """One row of the table: trials of one kind, and how those that fell did."""

    what: str
    draw: random.Random
    count: int
    note: str = ""

    def __post_init__(self) -> None:
        self.tried, self.fallen, self.counts = 0, list[str](), Counter[str]()

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))

    def check(self, problem: object, name: object = "") -> None:
        """Count a trial, which fell if there is a problem."""
        self.tried += 1
        if problem:
            self.fallen.append(f"{name or self.tried - 1}: {problem}")
            print(f"fell: {self.what}, {self.fallen[-1]}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        notes = [f"{n} {name}" for name, n in self.counts.items()] + [self.note] * bool(self.note)
        held = f"{self.tried - len(self.fallen)}" + (f" ({', '.join(notes)})" if notes else "")
        return f"| {self.what} ({self.tried}) | {held} | {len(self.fallen)} |"


Trial = Callable[[World, Row], None]


def main(trials: dict[str, tuple[Trial, int]]) -> int:
    """Run trials of every kind, as many as asked for in the proportion of their full counts; print their rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, help="trials in all, at least one of each kind; left out: the full count")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    options = parser.parse_args()
    trials = {what: trial for what, trial in trials.items() if options.only in what}
    full, fell = sum(count for _, count in trials.values()), False
    torch.set_num_threads(1)
    stillmotion.features.store.SHARD_BYTES = 1  # a shard for every clip
    for what, (trial, count) in trials.items():
        with tempfile.TemporaryDirectory() as name:
            tempfile.tempdir, os.environ["STILLMOTION_CACHE"] = name, f"{name}/user"
            share = count if options.count is None else max(1, round(options.count * count / full))
            print(f"{time.strftime('%X')} {what}", file=sys.stderr, flush=True)
            row = Row(what, random.Random(f"{options.seed} {what}"), share)
            trial(World(Path(name)), row)
            tempfile.tempdir = None
            print(row, flush=True)
            fell |= bool(row.fallen)
    return int(fell)
