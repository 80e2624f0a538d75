"""The order of classes in a confusion matrix: those that are mistaken for each other stand side by side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

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
    """An order of K classes in which similar ones are neighbors: agglomerative clustering with average linkage, its
    leaves in the order of the largest similarity of neighbors (Bar-Joseph, Gifford and Jaakkola 2001).

    Args:
        alike: (K, K), symmetric; its diagonal is not read. Without any similarity classes keep their order.
    """
    apart = np.array(alike, dtype=np.float64)
    np.fill_diagonal(apart, 0)
    if len(apart) < 3 or not apart.any():
        return list(range(len(apart)))
    apart = apart.max() - apart
    np.fill_diagonal(apart, 0)
    found: list[int] = leaves_list(linkage(squareform(apart), "average", optimal_ordering=True)).tolist()
    return found
