"""The folder of a run: what it holds, what is already in it, and how a stopped run goes on.

config.json           the resolved configuration
metrics.jsonl         one line per optimizer step and per evaluation
bad_videos.jsonl      videos that could not be read
state.pt              everything needed to continue, replaced whole
model.safetensors     the trained model
results.json          its numbers on the validation clips
predictions.jsonl     the probabilities behind them, one line per video
clips.jsonl           the training and validation clips, as a manifest
origin.json           the command, versions, machine and date
auto.json             how `auto` chose, where it did
report.html           all of it as a page
"""

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from stillmotion.data.manifest import Manifest
from stillmotion.data.source import as_listing
from stillmotion.errors import StillmotionError, one_line
from stillmotion.files import append_line, atomic_write, hold, let_go, sweep, write_json, write_torch
from stillmotion.progress import is_main_process

Json = dict[str, Any]
CLIPS, RUNTIME = "clips.jsonl", "runtime.json"
FREE = (
    *("place", "data.data", "data.val", "data.root", "data.labels", "data.text_features", "data.max_bad"),
    *("recipe.train.workers", "recipe.train.save_minutes", "recipe.train.device"),
    *("recipe.train.track", "recipe.train.tensorboard"),
    "recipe.backbone",
)
"""What may differ between a run and its continuation, by dotted names in config.json: what decides no number, and where
things lie, for backbone, clips, classes and the file to start from are compared by content."""

_FILES = (
    *("config.json", "metrics.jsonl", "bad_videos.jsonl", "state.pt"),
    *(
        "model.safetensors",
        "results.json",
        "predictions.jsonl",
        "clips.jsonl",
        "origin.json",
        "auto.json",
        "report.html",
        RUNTIME,
    ),
)


class RunFolder:
    """A run's folder, new or continued.
    Raises `StillmotionError`: another run, a finished one, or one that is running, is in the folder; `DiskError`: the
    folder cannot be written to.

    Args:
        config: the resolved configuration, JSON-ready.
        overwrite: throw away what an earlier run left.
        keep: accept a finished run of the same configuration; `finished` tells.
        defaults: of the configuration, which count for fields that an older config.json lacks.

    The folder is locked until `close`, or the process's end.
    """

    def __init__(
        self, path: Path, config: Json, overwrite: bool = False, keep: bool = False, defaults: Json | None = None
    ):
        self.path, self.config = path, config
        self.model, self.state = path / "model.safetensors", path / "state.pt"
        self.metrics, self.bad_videos = path / "metrics.jsonl", path / "bad_videos.jsonl"
        self.results, self.clips = path / "results.json", path / CLIPS
        # One lock for all folders of this name in a process, which may go on where an exception ended the first.
        self._lock = FileLock(path / ".lock", is_singleton=True)
        if is_main_process():
            self._acquire()
        try:
            self._open(overwrite, keep, defaults or {})
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<RunFolder: {self.path}{', finished' if self.finished else ''}>"

    def close(self) -> None:
        """Let others have the folder."""
        let_go(self._lock)

    def _acquire(self) -> None:
        busy = f"another process is training in {self.path}; wait for it, stop it, or choose another --out"
        hold(self._lock, self.path, busy)
        for name in _FILES:  # left by a killed process, for no other writes here now
            sweep(self.path.glob(f".{name}.*.tmp"), seconds=-math.inf)

    def _open(self, overwrite: bool, keep: bool, defaults: Json) -> None:
        path, before = self.path, None if overwrite else self._previous()
        if before is not None:
            if differences := _differences(before, self.config, defaults):
                raise StillmotionError(
                    f"{path} holds a run with other settings ({'; '.join(differences[:3])}); choose another --out, "
                    "or pass --overwrite to start over"
                )
            if self.finished and not keep:
                raise StillmotionError(
                    f"{path} holds this run, finished; use {self.model}, choose another --out, or pass --overwrite"
                )
        if is_main_process():
            if overwrite:  # only what a run writes: the folder may hold other things
                for name in _FILES:
                    (path / name).unlink(missing_ok=True)
            write_json(path / "config.json", self.config)

    @property
    def runtime(self) -> str | None:
        """How the frozen backbone ran when the run began; None: it did not, or has none.
        Raises `StillmotionError`: the file that says so is damaged.
        """
        file = self.path / RUNTIME
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["runtime"]) if file.is_file() else None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StillmotionError(f"{file} is damaged; delete it, or choose another --out") from error

    def note_runtime(self, name: str) -> None:
        """Keep how the frozen backbone runs, so that a continued run reads the same features."""
        if is_main_process():
            write_json(self.path / RUNTIME, {"runtime": name})

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return self.results.is_file() and not self.state.is_file()

    @property
    def begun(self) -> bool:
        """Whether a step was taken."""
        return any(line is not None and "loss" in line for line in self._lines())

    def save_state(self, state: Json) -> None:
        """Write the state to continue from, in one piece."""
        write_torch(self.state, state)

    def load_state(self) -> Json | None:
        """Read the last state, or None at the start of a run. Raises `StillmotionError`: the file is damaged."""
        try:
            if not self.state.is_file():
                return None
            with zipfile.ZipFile(self.state) as archive:  # PyTorch does not compare the checksums that it writes
                if part := archive.testzip():
                    raise ValueError(f"{part} has another checksum")
            return torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # PyTorch goes on to advise reading it unsafely
            reason = one_line(error)[:120].partition(". ")[0]
            raise StillmotionError(f"{self.state} is damaged ({reason}); delete it to start over") from error

    def finish(self) -> None:
        """Remove what it goes on with: the run is complete. How its backbone ran is in the model's card."""
        (self.path / RUNTIME).unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def log(self, **values: Any) -> None:
        """Append one line to the metrics."""
        if is_main_process():
            append_line(self.metrics, json.dumps(values))

    def write_clips(self, train: Manifest, val: Manifest) -> None:
        """Write the clips as one manifest, where they can be one."""
        if listing := as_listing(train, val):
            listing.write(self.clips)

    def training_seconds(self) -> float:
        """Seconds spent in optimizer steps, over all resumptions."""
        return sum(line.get("seconds", 0.0) for line in self.read_metrics())

    def read_metrics(self) -> list[Json]:
        """All lines of the metrics. Raises `StillmotionError`: one of them is damaged."""
        lines = self._lines()
        if None in lines:
            raise StillmotionError(f"{self.metrics} is damaged in line {lines.index(None) + 1}; remove that line")
        return [line for line in lines if line is not None]

    def rewind(self, step: int) -> None:
        """Drop metrics of steps that a killed run took after its last state; they are taken again."""
        if is_main_process() and self.metrics.is_file():
            kept = [x for x in self._lines() if x and (x["step"] < step or (x["step"] == step and "loss" not in x))]
            with atomic_write(self.metrics) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def _lines(self) -> list[Json | None]:
        """Lines of the metrics; None for one that is damaged, or cut short by a kill."""
        found: list[Json | None] = []
        text = self.metrics.read_text(encoding="utf-8", errors="replace") if self.metrics.is_file() else ""
        for line in filter(str.strip, text.splitlines()):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                entry = None
            found.append(entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None)
        return found

    def _previous(self) -> Json | None:
        file = self.path / "config.json"
        late = (file.name, self.bad_videos.name, RUNTIME, "origin.json", "report.html")
        begun = [n for n in _FILES if n not in late and (self.path / n).exists()]
        if not begun:  # a run that ended before its first step left nothing to go on with
            return None
        if not file.is_file():
            raise StillmotionError(
                f"{self.path} holds {begun[0]} of a run without its config.json; choose another --out"
            )
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")).items())
        except (ValueError, AttributeError, RecursionError) as error:
            raise StillmotionError(f"{file} is damaged; choose another --out, or delete {self.path}") from error


_OTHER = {"clips": "other clips"}
"""What is said of a digest that differs, which is of no use to anybody."""


def _differences(before: Any, now: Any, default: Any, name: str = "") -> list[str]:
    """What of a configuration differs in meaning; fields that the older one lacks have their default there."""
    if isinstance(before, dict) and isinstance(now, dict):
        found, defaults = [], default if isinstance(default, dict) else {}
        for key in sorted(before.keys() | now.keys()):
            inner = f"{name}.{key}" if name else key
            if inner not in FREE:
                old = before[key] if key in before else defaults.get(key)
                found += _differences(old, now.get(key), defaults.get(key), inner)
        return sorted(found, key=lambda said: said in _OTHER.values())  # what can be read first
    if before == now:
        return []
    return [_OTHER.get(name, f"{name} was {before!r}, is {now!r}")]
