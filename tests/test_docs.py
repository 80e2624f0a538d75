"""The code in the documentation runs."""

import re
from pathlib import Path

import pytest
import torch

from stillmotion.methods import Method
from tests.conftest import tiny_config

ROOT = Path(__file__).parents[1]


def blocks(name: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.S)


def test_the_worked_example_of_a_method() -> None:
    space: dict[str, object] = {"__name__": "example"}
    (code,) = blocks("docs/adding-a-method.md")
    exec(code, space)
    method = space["ChangeProbe"](num_frames=4)  # type: ignore[operator]
    assert isinstance(method, Method)
    model = method.build(tiny_config(text=False), ["a", "b", "c"]).eval()
    clip = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        assert model.classify(clip).shape == (2, 3)
        assert not torch.allclose(model.classify(clip), model.classify(clip.flip(1))), "it sees order"


@pytest.mark.parametrize("block", blocks("README.md"))
def test_readme_code_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_of_videos: Path, tiny_clip: Path
) -> None:
    """With a small model in the place of the reader's."""
    from stillmotion.cli import main
    from tests.videos import write_video

    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "surf.mp4")
    shared = ["--data", str(folder_of_videos), "--clip", str(tiny_clip), "--epochs", "1", "--num-frames", "4"]
    main(["train", "evl", *shared, "--layers", "2"])
    if "vificlip" in block:
        main(["train", "vificlip", *shared, "--warmup", "0"])
    exec(block, {})


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
