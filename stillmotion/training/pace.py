"""How fast an epoch went, and what it waited for."""

from dataclasses import dataclass


@dataclass
class Pace:
    """Videos of steps, over all processes; seconds in this process's steps, and before them in waiting for a batch."""

    videos: int = 0
    spent: float = 0.0
    waited: float = 0.0

    def add(self, videos: int, spent: float, waited: float) -> None:
        """Count a step."""
        self.videos, self.spent, self.waited = self.videos + videos, self.spent + spent, self.waited + waited

    def __str__(self) -> str:
        seconds = max(self.spent + self.waited, 1e-9)  # a clock may stand still
        rate = self.videos / seconds
        return (
            f"{rate:{',.0f' if rate >= 100 else '.3g'}} videos/s, {100 * self.waited / seconds:.0f} % waiting for data"
        )
