"""What of the feature cache stays in memory, so that several models, and later epochs, read a clip from disk once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import psutil

from stillmotion.models.features import Features


class Memory:
    """Features that were read, up to a number of bytes; those that were not asked for longest go first.

    Args:
        budget: bytes to hold; None: a quarter of what is free now.
    """

    def __init__(self, budget: int | None = None):
        self.budget = psutil.virtual_memory().available // 4 if budget is None else budget
        self._held: OrderedDict[Hashable, Features] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, read: Callable[[], Features]) -> Features:
        """What a name stands for, read if it is not held. The tensors are shared: nobody may write into them."""
        features = self._held.get(key)
        if features is not None:
            self._held.move_to_end(key)
            return features
        features = read()
        self._held[key] = features
        self._bytes += _size(features)
        while self._bytes > self.budget:
            self._bytes -= _size(self._held.popitem(last=False)[1])
        return features


def _size(features: Features) -> int:
    return sum(tensor.nbytes for tensor in features.values())
