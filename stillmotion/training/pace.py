"""What an epoch came to: its loss, how fast it went, and what it waited for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Pace:
    """Videos of steps, over all processes; seconds in this process's steps, and before them in waiting for a batch."""

    videos: int = 0
    spent: float = 0.0
    waited: float = 0.0
    losses: float = 0.0
    """Sum over the videos."""

    @classmethod
    def of(cls, lines: Sequence[Mapping[str, Any]], start: int) -> "Pace":
        """From the metrics of the steps since one, which an earlier command took."""
        pace = cls()
        for line in lines:
            if line["step"] >= start and "loss" in line:
                pace.add(line["videos"], line["loss"], line["seconds"], line["waited"])
        return pace

    def add(self, videos: int, loss: float, spent: float, waited: float) -> None:
        """Count a step of so many videos with this mean loss."""
        self.videos, self.losses = self.videos + videos, self.losses + videos * loss
        self.spent, self.waited = self.spent + spent, self.waited + waited

    def __str__(self) -> str:
        seconds = max(self.spent + self.waited, 1e-9)  # a clock may stand still
        rate = self.videos / seconds
        return (
            f"loss {self.losses / max(1, self.videos):.3f}, {rate:{',.0f' if rate >= 100 else '.3g'}} videos/s, "
            f"{100 * self.waited / seconds:.0f} % waiting for data"
        )
