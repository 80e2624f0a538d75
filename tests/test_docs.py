"""The code in the documentation runs."""

import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import stillmotion
from stillmotion.methods import Method
from tests.conftest import tiny_backbone

ROOT = Path(__file__).parents[1]


def blocks(name: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.S)


def test_the_worked_example_of_a_method() -> None:
    space: dict[str, object] = {"__name__": "example"}
    code, _ = blocks("docs/adding-a-method.md")
    exec(code, space)
    method = space["ChangeProbe"](num_frames=4)  # type: ignore[operator]
    assert isinstance(method, Method)
    model = method.build(tiny_backbone(text=False), ["a", "b", "c"]).eval()
    clip = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        assert model.classify(clip).shape == (2, 3)
        assert not torch.allclose(model.classify(clip), model.classify(clip.flip(1))), "it sees order"


def test_the_combination_trains_and_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_of_videos: Path, tiny_clip: Path
) -> None:
    import stillmotion
    from stillmotion.cli import main
    from stillmotion.methods import METHODS

    _, code = blocks("docs/adding-a-method.md")
    (tmp_path / "my_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["--data", folder_of_videos, "--backbone", tiny_clip, "--epochs", 6, "--num-frames", 2, "--out", "run"]
    main(["train", "my_module:recipe", *map(str, words)])
    model = stillmotion.load("run/model.safetensors")
    kept = load_file("run/model.safetensors")
    assert set(kept) == {k for k in model.model.state_dict() if "message_" in k} | {"head.logit_scale", "text.stem.ctx"}
    assert model(next(folder_of_videos.rglob("*.mp4"))).label in ("left", "right")
    del METHODS["cross_frame_prompts"]
    with pytest.raises(stillmotion.StillmotionError, match="cross_frame_prompts"):
        stillmotion.load("run/model.safetensors")
    from stillmotion.recipes.base import Recipe
    from stillmotion.training.config import Train

    recipe = Recipe(method=sys.modules["my_module"].CrossFramePrompts(), train=Train())
    with pytest.raises(stillmotion.StillmotionError, match=r"METHODS\['my_method'\] = CrossFramePrompts"):
        recipe.to_dict()


@pytest.mark.parametrize("block", blocks("README.md"))
def test_readme_code_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_of_videos: Path, tiny_clip: Path
) -> None:
    """With a small model in the place of the reader's."""
    from stillmotion.cli import main
    from tests.videos import write_video

    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "surf.mp4")
    shared = ["--data", str(folder_of_videos), "--backbone", str(tiny_clip), "--epochs", "1", "--num-frames", "4"]
    main(["train", "evl", *shared, "--layers", "2"])
    main(["train", "auto", *shared, "--candidates", "linear_probe", "--folds", "2"])
    if "vificlip" in block:
        main(["train", "vificlip", *shared, "--warmup", "0"])
    exec(block, {})


def test_the_page_on_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_of_videos: Path, video: Path
) -> None:
    """From its first block to its last, with small models."""
    from tests.methods.golden_clip import clip_state
    from tests.methods.test_vificlip import as_release

    monkeypatch.chdir(tmp_path)
    (tmp_path / "surf.mp4").write_bytes(video.read_bytes())
    (tmp_path / "my_videos").symlink_to(folder_of_videos)
    clip = clip_state(22)
    torch.save(clip, "ViT-B-16.pt")
    torch.save({"model": as_release(clip)}, "k400.pth")
    small = {"backbone": "ViT-B-16.pt", "layers": 2, "epochs": 1, "num_frames": 4, "out": "runs/evl"}
    stillmotion.train("evl", data="my_videos", **small)
    space: dict[str, object] = {}
    found = blocks("docs/python.md")
    assert len(found) == 8
    for block in found:
        exec(block, space)


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
