"""What of the feature cache stays in memory, so that several models, and later epochs, read a clip from disk once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import psutil
from torch import Tensor


class Memory:
    """Tensors that were read, up to a number of bytes; the one that was not asked for longest goes first.

    Args:
        budget: bytes to hold; None: a quarter of what is free now.
    """

    def __init__(self, budget: int | None = None):
        self.budget = psutil.virtual_memory().available // 4 if budget is None else budget
        self._held: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, read: Callable[[], Tensor]) -> Tensor:
        """The tensor of a name, read if it is not held. It is shared: nobody may write into it."""
        tensor = self._held.get(key)
        if tensor is not None:
            self._held.move_to_end(key)
            return tensor
        tensor = read()
        self._held[key] = tensor
        self._bytes += tensor.nbytes
        while self._bytes > self.budget:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
        return tensor
