"""Every family of towers runs in integers, and gives nearly what it gives in float32."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from stillmotion.backbones.runtimes import RUNTIMES, probe
from stillmotion.models.features import Reads
from tests.backbones import test_timm as timm_towers
from tests.backbones import test_vjepa as vjepa_towers

CPU = torch.device("cpu")
needs_integers = pytest.mark.skipif(not probe.runs("int8"), reason="this machine cannot run 8-bit products")


@needs_integers
@pytest.mark.parametrize("family", timm_towers.FAMILIES)
def test_timm(family: str, tmp_path: Path) -> None:
    *_, side, _, motion = timm_towers.FAMILIES[family]
    timm_towers.make(family, tmp_path / "tower")
    reads = Reads(frames=True, out=(0, -1), affinity=(-1,) if motion else ())
    _, tower = timm_towers.tower_of(f"timm:{tmp_path / 'tower'}", reads)
    torch.manual_seed(1)
    near(tower, torch.randn(1, 3, 3, side, side))


@needs_integers
def test_vjepa(tmp_path: Path) -> None:
    vjepa_towers.make(tmp_path / "tower")
    backbone, tower = vjepa_towers.tower_of(f"vjepa2:{tmp_path / 'tower'}", Reads(out=(0, -1)))
    torch.manual_seed(1)
    near(tower, torch.randn(1, 4, 3, *backbone.pixels.size))


def near(tower: torch.nn.Module, video: torch.Tensor) -> None:
    exact = {k: v.clone() for k, v in RUNTIMES["fp32"](tower, CPU)(video).items()}
    found = RUNTIMES["int8"](tower, CPU)(video)
    assert found.keys() == exact.keys()
    for output, tensor in exact.items():
        assert found[output].shape == tensor.shape
        if not output.startswith("affinity"):
            assert F.cosine_similarity(found[output], tensor, dim=-1).mean() > 0.99, output
