"""Classes that are mistaken for each other become neighbors, whatever order they came in."""

import numpy as np
import pytest

from stillmotion.report.similar import side_by_side, similarity


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_is_found(seed: int) -> None:
    places = np.random.RandomState(seed).permutation(12)
    alike = 1 / (1 + np.abs(np.subtract.outer(places, places)))
    found = places[side_by_side(alike)].tolist()
    assert found in (list(range(12)), list(range(11, -1, -1)))


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together(seed: int) -> None:
    group = np.random.RandomState(seed).permutation(np.repeat(range(4), 3))
    found = group[side_by_side((group[:, None] == group[None]).astype(float))].tolist()
    assert all(len(set(found[i : i + 3])) == 1 for i in range(0, 12, 3))


def test_the_most_alike_pair_is_adjacent_and_nothing_keeps_its_order() -> None:
    alike = np.random.RandomState(0).rand(30, 30)
    alike = alike + alike.T
    np.fill_diagonal(alike, 0)
    a, b = np.unravel_index(int(alike.argmax()), alike.shape)
    order = side_by_side(alike)
    assert sorted(order) == list(range(30))
    assert abs(order.index(int(a)) - order.index(int(b))) == 1
    assert side_by_side(np.zeros((5, 5))) == [0, 1, 2, 3, 4]
    assert (side_by_side(np.zeros((1, 1))), side_by_side(np.zeros((0, 0)))) == ([0], [])


def test_similarity_is_counts_and_probabilities() -> None:
    p = np.array([[0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.1, 0.0, 0.9]])
    alike = similarity([[1, 1, 0], [0, 0, 0], [0, 0, 1]], p, np.array([0, 0, 2]))
    assert alike[0, 1] == alike[1, 0] == pytest.approx(1 / 2 + (0.4 + 0.8) / 2)
    assert alike[0, 2] == pytest.approx(0.1)
