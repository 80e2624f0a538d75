"""Class embeddings from a file in the place of a text tower: an image tower trains on them, and says what it needs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import stillmotion
from stillmotion.cli import main
from stillmotion.data.source import Data
from stillmotion.data.text_features import read_text_features
from stillmotion.errors import StillmotionError
from stillmotion.experiment import fit
from stillmotion.methods import LinearProbe, ViFiCLIP
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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.array([["a"] * 32] * 2), "holds no array of real numbers"),
        (np.ones((2, 32), complex), "holds no array of real numbers"),
        (np.zeros((2, 32)), "has a row of zeros"),
        (np.full((2, 32), np.nan), "holds NaN or infinite values"),
        (np.ones((3, 32)), r"an array of shape \(3, 32\), expected \(2, 32\)"),
    ],
)
def test_what_is_no_class_embeddings(content: np.ndarray, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(StillmotionError, match=said):
        read_text_features(tmp_path / "a.npy", 2, 32)


def test_files_that_claim_much_or_are_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.ones((2, 32)))
    with pytest.raises(StillmotionError, match="holds no array of real numbers"):
        read_text_features(tmp_path / "a.npz", 2, 32)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 400), }"
    header += b" " * (118 - len(header)) + b"\n"
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(StillmotionError, match=r"cannot read class embeddings|expected \(2, 32\)"):
        read_text_features(tmp_path / "b.npy", 2, 32)


def test_a_method_that_reads_no_names_refuses_them(
    folder_of_videos: Path, tiny_clip: Path, words: Path, tmp_path: Path
) -> None:
    recipe = Recipe(method=LinearProbe(num_frames=4), train=TRAIN, backbone=str(tiny_clip))
    with pytest.raises(StillmotionError, match="--text-features goes with methods that compare"):
        fit(recipe, Data(data=folder_of_videos, text_features=words), Place(out=tmp_path / "r"))
