"""The order of classes in a confusion matrix: those that are mistaken for each other stand side by side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def similarity(confusion: Sequence[Sequence[int]], probabilities: Matrix, labels: NDArray[np.int64]) -> Matrix:
    """How alike a model finds classes, (K, K), symmetric.

    It is the part of one class's videos that is called the other, and the probability that they get for it, which
    speaks where there are few mistakes.
    """
    counts = np.array(confusion, dtype=np.float64)
    soft = np.zeros_like(counts)
    np.add.at(soft, labels, probabilities)
    both = (counts + soft) / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return both + both.T


def side_by_side(alike: Matrix) -> list[int]:
    """An order of K classes in which similar ones are neighbors: agglomerative clustering with average linkage, where
    two clusters are joined at the ends that are most alike (Gruvaeus and Wainer 1972).

    Args:
        alike: (K, K), symmetric; its diagonal is not read. Classes like no other keep their order.
    """
    rows: list[list[int]] = [[i] for i in range(len(alike))]
    linkage = np.array(alike, dtype=np.float64)
    linkage[np.tril_indices(len(linkage))] = -np.inf  # pairs (a, b) with a < b alone
    size = np.ones(len(linkage))
    for _ in range(len(rows) - 1):
        a, b = map(int, np.unravel_index(int(linkage.argmax()), linkage.shape))
        ends = [(x, y) for y in (rows[b], rows[b][::-1]) for x in (rows[a], rows[a][::-1])]
        left, right = max(ends, key=lambda pair: alike[pair[0][-1], pair[1][0]])
        rows[a], rows[b] = [*left, *right], []
        _merge(linkage, size, a, b)
    return next(filter(None, rows), [])


def _merge(linkage: Matrix, size: NDArray[np.float64], a: int, b: int) -> None:
    """Make cluster a the union of a and b, whose linkage to others is the mean over its classes; b is gone."""
    whole = np.maximum(linkage, linkage.T)  # what is gone is -inf both ways
    mean = (size[a] * whole[a] + size[b] * whole[b]) / (size[a] + size[b])
    size[a] += size[b]
    linkage[:a, a], linkage[a, a + 1 :] = mean[:a], mean[a + 1 :]
    linkage[b, :] = linkage[:, b] = -np.inf
