"""Towers in OpenVINO against float32, a process of its own: `python -m tests.backbones.in_openvino_alone`."""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.runtimes import RUNTIMES
from stillmotion.backbones.weights import image_tower
from stillmotion.models.features import Reads
from stillmotion.models.order import COMPUTED
from tests.backbones.test_timm import FAMILIES, make, tower_of
from tests.conftest import write_tiny_clip

CPU = torch.device("cpu")


def check(tower: nn.Module, video: Tensor) -> None:
    """Of a tower, with all that it gives, and for another shape."""
    exact = {name: tensor.clone() for name, tensor in RUNTIMES["fp32"](tower, CPU)(video).items()}
    run = RUNTIMES["openvino"](tower, CPU)
    found, other = run(video), run(video[:, :2])
    assert found.keys() == exact.keys()
    for name, tensor in exact.items():
        assert found[name].shape == tensor.shape and found[name].dtype == torch.float32, name
        if name.startswith("affinity"):
            assert (found[name] - tensor).norm() < 0.05 * tensor.norm(), name
        else:
            assert F.cosine_similarity(found[name], tensor, dim=-1).mean() > 0.99, name
            assert not torch.equal(found[name], tensor), f"the matrices behind {name} are integers"
    assert F.cosine_similarity(other["frames"], exact["frames"][:, :2], dim=-1).min() > 0.99, "another shape"


def main() -> None:
    """Check two of timm's towers, and a CLIP with affinities in other orders."""
    with tempfile.TemporaryDirectory() as folder:
        for family in ("plain", "siglip2"):
            side = FAMILIES[family][2]
            make(family, Path(folder) / family)
            _, tower = tower_of(f"timm:{Path(folder) / family}", Reads(frames=True, out=(0, -1), affinity=(-1,)))
            torch.manual_seed(1)
            check(tower, torch.randn(1, 3, 3, side, side))
            print(family)
        weights = load_backbone(str(write_tiny_clip(Path(folder) / "clip.safetensors")))
        reads = Reads(frames=True, out=(0, -1), affinity=(-1,)) | COMPUTED
        check(image_tower(weights, reads), torch.randn(1, 4, 3, 32, 32))
        print("clip")


if __name__ == "__main__":
    main()
