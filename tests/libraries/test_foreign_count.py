"""Models of other libraries are counted beside ours, by the library's own module on the meta device."""

import json
from pathlib import Path

import pytest
import torch
import torchvision

from stillmotion.cli import main
from stillmotion.errors import StillmotionError
from stillmotion.libraries.count import count_foreign


def test_parameters_and_work_are_those_torchvision_publishes() -> None:
    """Its weights' own records: parameters exactly, and GFLOPs, which are multiply-accumulates there too."""
    for name in ("r3d_18", "swin3d_t"):
        entry = torchvision.models.get_model_weights(name)["DEFAULT"]
        counts = count_foreign(f"torchvision:{name}")
        assert counts.parameters == entry.meta["num_params"]
        # Their counter saw the clip length of training; work grows with it at least linearly.
        assert 0.5 < counts.macs / 1e9 / entry.meta["_ops"] < 2.2


def test_a_folder_of_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.TimesformerConfig(
        image_size=32, patch_size=16, num_frames=4, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, num_labels=3,
    )  # fmt: skip
    model = transformers.TimesformerForVideoClassification(config)
    config.architectures = ["TimesformerForVideoClassification"]
    config.save_pretrained(tmp_path)
    main(["count", f"transformers:{tmp_path}", "--views", "3", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["parameters"] == sum(p.numel() for p in model.parameters())
    assert (said["num_frames"], said["image_size"], said["views"]) == (4, [32, 32], 3)
    patches = 4 * 4 * 3 * 16 * 16 * 32  # the first layer alone: frames x patches x pixels x width
    assert said["macs"] > patches
    main(["count", f"transformers:{tmp_path}"])
    assert "4 frames of 32x32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:r3d_81", "did you mean 'r3d_18'"),
        ("transformers:nowhere", "pass a local folder"),
    ],
)
def test_what_cannot_be_counted(name: str, message: str) -> None:
    with pytest.raises(StillmotionError, match=message):
        count_foreign(name)


def test_nothing_is_allocated() -> None:
    assert torch.get_default_device().type == "cpu"
    count_foreign("torchvision:mvit_v1_b")
    assert torch.get_default_device().type == "cpu"
