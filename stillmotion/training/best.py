"""Which epoch of a run is kept, and when it ends early: by the accuracy on the validation clips."""

import copy
from typing import Any, Literal

from stillmotion.errors import StillmotionError


class Best:
    """The best epoch so far.

    Args:
        keep: which weights a run ends with, those of the `last` epoch or of the `best` one (of equal ones the first).
        patience: evaluations in a row without a better one that end the run; None: it never ends early.
    """

    def __init__(self, keep: Literal["last", "best"] = "last", patience: int | None = None):
        self.keep, self.patience = keep, patience
        self.epoch: int | None = None
        self.top1 = -1.0
        self.worse, self.last = 0, 0
        self.weights: dict[str, Any] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the run ends here."""
        return self.patience is not None and self.worse >= self.patience

    @property
    def decided(self) -> bool:
        """Whether evaluations chose the epoch that the run ends with."""
        return self.keep == "best" or self.exhausted

    def see(self, epoch: int, top1: float, weights: dict[str, Any]) -> None:
        """Take note of an evaluation behind an epoch (counted from 1); `weights` are copied where they are kept."""
        self.last = epoch
        if top1 > self.top1:
            self.epoch, self.top1, self.worse = epoch, top1, 0
            self.weights = copy.deepcopy(weights) if self.keep == "best" else None
        else:
            self.worse += 1

    def state(self) -> dict[str, Any]:
        """Everything to go on from."""
        return {name: getattr(self, name) for name in _STATE}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned. Raises `StillmotionError`: an older version wrote it."""
        if not set(_STATE) <= set(state):
            raise StillmotionError("the saved state is of an older version; delete state.pt to start over")
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = ("epoch", "top1", "worse", "last", "weights")
