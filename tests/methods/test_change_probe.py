"""The change probe: cosines of what the frames hold, nothing of what stands still, and a summary that is kept."""

from pathlib import Path

import pytest
import torch

from stillmotion.errors import StillmotionError
from stillmotion.methods import ChangeProbe
from stillmotion.models.change import GAIN, change, cosines
from stillmotion.models.features import Features
from tests.conftest import tiny_backbone

METHOD = ChangeProbe(num_frames=4, blocks=2)


def features(B: int = 2, T: int = 4) -> Features:
    return {f"out.{i}": torch.randn(B, T, 17, 64, generator=torch.Generator().manual_seed(i)) for i in (1, 2)}


def test_cosines_are_those_of_the_transform() -> None:
    """Against their definition, number by number; each has mean 0 and rms 1, and they are orthogonal."""
    found = cosines(8, 3).double()
    for r in range(3):
        for t in range(8):
            expected = 2**0.5 * torch.cos(torch.tensor(torch.pi * (r + 1) * (t + 0.5) / 8, dtype=torch.float64))
            assert found[r, t] == pytest.approx(expected.item(), abs=1e-6)
    assert torch.allclose(found @ found.T / 8, torch.eye(3, dtype=torch.float64), atol=1e-6)


def test_change_frame_by_frame() -> None:
    x = features()["out.1"]
    found = change(x, prefix=1, count=2).unflatten(1, (2, 2, 64))
    for b in range(2):
        for r in range(2):
            for s, of in enumerate((torch.std, torch.mean)):
                expected = torch.zeros(64)
                for t in range(4):
                    patches = (x[b, t, 1:] - x[b, t, 1:].mean(-1, keepdim=True)) / torch.sqrt(
                        x[b, t, 1:].var(-1, correction=0, keepdim=True) + 1e-5
                    )
                    value = of(patches, dim=0, correction=0) if s == 0 else of(patches, dim=0)
                    expected += cosines(4, 2)[r, t] / 4 * value
                assert (found[b, r, s] - GAIN * expected).abs().max() <= 1e-5


def test_a_still_clip_is_nothing_and_a_reversed_one_changes_the_odd_signs() -> None:
    x = features()["out.1"]
    still = x[:, :1].expand(-1, 4, -1, -1)
    assert change(still, 1, 2).abs().max() <= 1e-5
    forth, back = (change(y, 1, 2).unflatten(1, (2, -1)) for y in (x, x.flip(1)))
    assert torch.allclose(forth[:, 0], -back[:, 0], atol=1e-5) and torch.allclose(forth[:, 1], back[:, 1], atol=1e-5)
    assert forth.std() > 0.05


def test_the_summary_gives_the_same_logits_as_the_features() -> None:
    torch.manual_seed(0)
    backbone = tiny_backbone()
    model = METHOD.build(backbone, ("a", "b", "c")).eval()
    given = features()
    make = METHOD.summary(backbone).make
    kept = [make({name: tensor[b] for name, tensor in given.items()}) for b in range(2)]
    batch = {"change": torch.stack([view["change"] for view in kept])}
    assert batch["change"].shape == (2, 2 * 2 * 2 * 64)
    assert (model.classify(given) - model.classify(batch)).abs().max() <= 1e-6
    video = torch.randn(1, 4, 3, 32, 32)
    assert torch.equal(model.classify(video), model.classify(model.visual(video)))


def test_only_the_head_trains() -> None:
    model = METHOD.build(tiny_backbone(), ("a", "b", "c"))
    assert [name for name, _ in model.temporal.named_parameters()] == []
    assert {name for name, _ in model.head.named_parameters()} == {"2.weight", "2.bias"}
    assert METHOD.frozen and [tune.pattern for tune in METHOD.tune()] == ["head.*"]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (ChangeProbe(num_frames=2), "coefficients is 2, a clip has 2 steps of time; they must be fewer"),
        (ChangeProbe(num_frames=4, blocks=9), "block -9 is outside a tower of 3 blocks"),
    ],
)
def test_what_cannot_be(method: ChangeProbe, said: str) -> None:
    with pytest.raises(StillmotionError, match=said):
        method.build(tiny_backbone(), ("a", "b"))
    with pytest.raises(StillmotionError, match="coefficients is 0"):
        ChangeProbe(coefficients=0)


def test_page_has_the_constant() -> None:
    text = (Path(__file__).parents[2] / "docs" / "methods" / "change_probe.md").read_text(encoding="utf-8")
    assert f"times {GAIN:g}" in text
