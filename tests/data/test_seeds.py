"""Seeds mix all their bits, cached views are drawn apart, and draws on the CPU leave other devices alone."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillmotion.data.dataset import Batch
from stillmotion.data.sampling import Sampling
from stillmotion.data.seeds import item_seed, view_of_epoch
from stillmotion.data.transforms import Augment, Preprocess
from stillmotion.features.dataset import FeatureDataset
from stillmotion.features.encode import View
from stillmotion.training.objective import CrossEntropy

N, CLIPS = 4, 300


def test_seeds_of_neighbors_differ_in_half_of_their_bits() -> None:
    for pick in (lambda i: (0, i, 7), lambda i: (i, 0, 7), lambda i: (0, 7, i)):
        changed = [(item_seed(*pick(i)) ^ item_seed(*pick(i + 1))).bit_count() for i in range(500)]
        assert np.mean(changed) == pytest.approx(16, abs=0.6)


def test_low_bits_are_not_linear() -> None:
    """Of CRC-32, the exclusive or of these four is one number for all: a change of epoch shifts every clip alike."""
    steps = {item_seed(0, 0, i) ^ item_seed(0, 1, i) for i in range(100)}
    assert len({s % N for s in steps}) == N
    assert len(steps) == 100


def test_parts_are_told_apart() -> None:
    seeds = [item_seed("a", "b"), item_seed("ab"), item_seed("a,b"), item_seed(1, 2), item_seed(12), item_seed("1", 2)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**32 for s in seeds)
    assert item_seed(0, "train", 3) == 0xE4F11C85


def drawn(epoch: int) -> list[int]:
    return [view_of_epoch(0, index, epoch, N) for index in range(CLIPS)]


def test_every_view_once_in_each_n_epochs_in_an_order_of_its_own() -> None:
    orders = np.array([drawn(epoch) for epoch in range(5 * N)]).T.reshape(CLIPS, 5, N)
    assert (np.sort(orders, axis=-1) == np.arange(N)).all()
    # Epochs 0 and 1 show no rule: each of the 12 pairs of different views, about 25 times.
    pairs = Counter(zip(drawn(0), drawn(1)))
    assert len(pairs) == 12
    assert max(pairs.values()) < 60
    assert len({tuple(order) for order in orders[:, 0]}) == 24, "clips share orders"
    assert np.mean((orders[:, 0] == orders[:, 1]).all(-1)) < 0.15, "the next n epochs repeat the order"


def test_cached_features_are_drawn_so() -> None:
    views = [[View(None, f"{i}", Sampling(), n, "crop") for n in range(N)] for i in range(CLIPS)]
    clip, store = SimpleNamespace(label=0), SimpleNamespace(folder=None)
    dataset = FeatureDataset(store, [clip] * CLIPS, views, (), train=True)
    for epoch in range(2 * N):
        items = [dataset.items(epoch, i) for i in range(CLIPS)]
        assert items == [[f"{i}/crop{n}"] for i, n in enumerate(drawn(epoch))]


@pytest.mark.parametrize("draw", ["augment", "mix"])
def test_draws_leave_other_devices_alone(draw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.randint(0, 256, (4, 3, 40, 48), dtype=torch.uint8)
    batch = Batch(torch.arange(4), torch.arange(4), frames[:, None].float(), 1, [])

    def run(seed: int) -> torch.Tensor:
        if draw == "augment":
            return Augment("vificlip", Preprocess(size=(32, 32)), 0.5)(frames, seed)
        return CrossEntropy(4, mix=True).targets(batch, seed)[0]

    for module in ("torch.cuda", "torch.xpu", "torch.mps"):
        for name in ("manual_seed_all", "manual_seed"):
            monkeypatch.setattr(f"{module}.{name}", lambda _: pytest.fail("another device was seeded"), raising=False)
    before = torch.get_rng_state()
    first = run(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(run(3), first)
    assert not torch.equal(run(4), first)
