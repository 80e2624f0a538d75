"""The folder of a run: what it holds, what is already in it, and how a stopped run goes on.

config.json           the resolved configuration
metrics.jsonl         one line per optimizer step and per evaluation
bad_videos.jsonl      videos that could not be read
state.pt              everything needed to continue, replaced whole
model.safetensors     the trained model
results.json          its numbers on the validation clips
predictions.jsonl     the probabilities behind them, one line per video
"""

import json
from pathlib import Path
from typing import Any

import torch

from stillmotion.errors import StillmotionError
from stillmotion.files import append_line, atomic_write, write_json, write_torch
from stillmotion.progress import is_main_process

# What may change between a run and its continuation.
_FREE = {"overwrite", "explain", "out", "workers", "save_minutes", "device", "tensorboard", "cache", "max_bad"}
_FILES = (
    "config.json",
    "metrics.jsonl",
    "bad_videos.jsonl",
    "state.pt",
    "model.safetensors",
    "results.json",
    "predictions.jsonl",
)


class RunFolder:
    """A run's folder, new or continued.

    Args:
        path: the folder; made if it is not there.
        config: the resolved configuration, JSON-ready.
        overwrite: throw away what an earlier run left.
        keep: accept a finished run of the same configuration; `finished` tells.

    Raises:
        StillmotionError: another run, or a finished one, is in the folder.
        DiskError: the folder cannot be written to.
    """

    def __init__(self, path: Path, config: dict[str, Any], overwrite: bool = False, keep: bool = False):
        self.path, self.config = path, config
        before = self._previous()
        if before is not None and not overwrite:
            differences = _differences(before, config)
            if differences:
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
            write_json(path / "config.json", config)

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.path / "model.safetensors"

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return self.model.is_file() and not (self.path / "state.pt").is_file()

    @property
    def bad_videos(self) -> Path:
        """List of skipped videos."""
        return self.path / "bad_videos.jsonl"

    @property
    def metrics(self) -> Path:
        """JSON lines of the run."""
        return self.path / "metrics.jsonl"

    def save_state(self, state: dict[str, Any]) -> None:
        """Write the state to continue from, in one piece."""
        write_torch(self.path / "state.pt", state)

    def load_state(self) -> dict[str, Any] | None:
        """Read the last state, or None at the start of a run.

        Raises:
            StillmotionError: the file is damaged.
        """
        file = self.path / "state.pt"
        if not file.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise StillmotionError(f"{file} is damaged ({error}); delete it to start over") from error
        return state

    def finish(self) -> None:
        """Remove the state: the run is complete."""
        (self.path / "state.pt").unlink(missing_ok=True)

    def log(self, **values: Any) -> None:
        """Append one line to the metrics."""
        if is_main_process():
            append_line(self.metrics, json.dumps(values))

    def training_seconds(self) -> float:
        """Seconds spent in optimizer steps, over all resumptions."""
        return sum(line.get("seconds", 0.0) for line in self.read_metrics())

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines of the metrics."""
        if not self.metrics.is_file():
            return []
        return [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines() if line.strip()]

    def rewind(self, step: int) -> None:
        """Drop metrics of steps that a killed run took after its last state; they are taken again."""
        if is_main_process() and self.metrics.is_file():
            kept = []
            for line in self.metrics.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # cut short by the kill
                if entry["step"] < step or (entry["step"] == step and "loss" not in entry):
                    kept.append(line)
            with atomic_write(self.metrics) as temporary:
                temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def _previous(self) -> dict[str, Any] | None:
        file = self.path / "config.json"
        begun = [
            name for name in _FILES if name not in ("config.json", "bad_videos.jsonl") and (self.path / name).exists()
        ]
        if not file.is_file() or not begun:  # a run that ended before its first step left nothing to go on with
            return None
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StillmotionError(f"{file} is damaged; choose another --out, or delete {self.path}") from error
        return content


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in sorted(before.keys() | now.keys()):
            if key not in _FREE:
                found += _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
        return found
    return [] if before == now else [f"{name} was {before!r}, is {now!r}"]
