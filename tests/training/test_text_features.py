"""Class embeddings from a file in the place of a text tower: an image tower trains on them, and says what it needs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import stillmotion
from stillmotion.cli import main
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError
from stillmotion.experiment import fit
from stillmotion.methods import ViFiCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train

TRAIN = Train(lr=1e-3, epochs=2, batch_size=4, device="cpu", workers=0)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    np.save(tmp_path / "words.npy", np.random.RandomState(0).randn(2, 32))
    return tmp_path / "words.npy"


def test_given_embeddings_train_as_those_of_a_frozen_text_tower(
    folder_of_videos: Path, tiny_clip: Path, tiny_image_tower: Path, tmp_path: Path
) -> None:
    """The same image tower, trained against the same embeddings, once from the text tower and once from a file."""
    recipe = Recipe(method=ViFiCLIP(num_frames=4, tuned="image"), train=TRAIN, backbone=str(tiny_clip))
    whole = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "whole"))
    text = stillmotion.load(whole.folder.model, device="cpu").text
    assert text is not None
    np.save(tmp_path / "text.npy", text.numpy())
    scale = load_file(tiny_clip)["logit_scale"]
    state = load_file(tiny_image_tower) | {"logit_scale": scale}
    from safetensors.torch import save_file

    save_file(state, tmp_path / "tower.safetensors")
    alone = Recipe(method=recipe.method, train=TRAIN, backbone=str(tmp_path / "tower.safetensors"))
    data = Data(data=folder_of_videos, text_features=tmp_path / "text.npy")
    found = fit(alone, data, Place(out=tmp_path / "alone"))
    assert (found.scores.probabilities - whole.scores.probabilities).abs().max() <= 1e-5
    trained, expected = (load_file(r.folder.model)["visual.proj"] for r in (found, whole))
    assert (trained - expected).abs().max() <= 1e-5
    assert not torch.equal(trained, load_file(tiny_clip)["visual.proj"]), "the case would not tell"


def test_on_the_command_line(
    folder_of_videos: Path, tiny_image_tower: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    shared = ["--data", str(folder_of_videos), "--backbone", str(tiny_image_tower), "--num-frames", "4", "--epochs",
              "1", "--warmup", "0", "--device", "cpu", "--out", str(tmp_path / "run")]  # fmt: skip
    main(["train", "vificlip", "--tuned", "image", "--text-features", str(words), *shared])
    model, video = str(tmp_path / "run" / "model.safetensors"), str(next(folder_of_videos.rglob("*.mp4")))
    capsys.readouterr()
    main(["predict", model, video, "--text-features", str(words), "--device", "cpu"])
    assert sorted(line.split()[-1] for line in capsys.readouterr().out.splitlines()) == ["left", "right"]
    np.save(tmp_path / "three.npy", np.random.RandomState(1).randn(3, 32))
    main(["predict", model, video, "--text-features", str(tmp_path / "three.npy"), "--labels", "a, b, c",
          "--device", "cpu"])  # fmt: skip
    assert sorted(line.split()[-1] for line in capsys.readouterr().out.splitlines()) == ["a", "b", "c"]
    for change, said in (
        (["predict", model, video], "pass class embeddings (--text-features)"),
        (["predict", model, video, "--text-features", str(tmp_path / "three.npy")], "expected (2, 32)"),
        (["train", "vificlip", *shared[:-1], "x", "--text-features", str(words)], "vificlip --tuned image"),
        (["train", "vificlip", *shared[:-1], "x"], "or class embeddings (--text-features)"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(change)
        assert stop.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]


def test_other_embeddings_are_another_run(
    folder_of_videos: Path, tiny_image_tower: Path, words: Path, tmp_path: Path
) -> None:
    recipe = Recipe(method=ViFiCLIP(num_frames=4, tuned="image"), train=TRAIN, backbone=str(tiny_image_tower))
    place = Place(out=tmp_path / "r")
    fit(recipe, Data(data=folder_of_videos, text_features=words), place)
    moved = words.rename(tmp_path / "moved.npy")
    fit(recipe, Data(data=folder_of_videos, text_features=moved), place, keep=True)
    np.save(words, np.random.RandomState(9).randn(2, 32))
    with pytest.raises(StillmotionError, match="text was"):
        fit(recipe, Data(data=folder_of_videos, text_features=words), place, keep=True)
