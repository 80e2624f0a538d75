"""What a user does after a mistake: the corrected command works, and nothing done is lost."""

from pathlib import Path

import pytest

from stillmotion.cli import main
from tests.test_docs import blocks


def fails(words: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, words)))
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.splitlines()[-1].startswith("error: "), error
    return error


def test_a_mistyped_option_leaves_the_folder_free(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "evl", "--data", folder_of_videos, "--backbone", tiny_clip, "--out", tmp_path / "run"]
    words += ["--layers", 2, "--num-frames", 2, "--epochs", 1]
    assert "7 heads do not divide" in fails([*words, "--heads", 7], capsys)
    main(list(map(str, words)))
    assert "holds a run with other settings" in fails([*words, "--lr", 0.1], capsys)


def test_numbers_are_printed_before_a_folder_that_cannot_be_made(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path("/proc/nothing")
    if not out.parent.is_dir():
        pytest.skip("there is no folder here that nobody can write to")
    words = ["eval", "zero_shot", "--data", folder_of_videos, "--backbone", tiny_clip, "--out", out]
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, words)))
    said = capsys.readouterr()
    assert stop.value.code == 2 and "top-1" in said.out and "choose another" in said.err


def test_videos_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there are no videos" in fails(["predict", "zero_shot", "--labels", "a, b"], capsys)


def test_a_cache_that_is_a_file_is_refused_before_encoding(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    words = ["train", "evl", "--data", folder_of_videos, "--backbone", tiny_clip, "--cache", tmp_path / "file"]
    error = fails([*words, "--out", tmp_path / "run", "--layers", 2], capsys)
    assert "is a file; pass a folder as --cache" in error and "encoding" not in error


def test_a_method_of_ones_own_from_train_to_predict(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The page's example, in the folder where its module lies, by the commands that are printed."""
    from stillmotion.methods import METHODS

    (tmp_path / "own_method.py").write_text(blocks("docs/adding-a-method.md")[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    words = ["train", "own_method:recipe", "--data", folder_of_videos, "--backbone", tiny_clip, "--epochs", 6]
    main(list(map(str, [*words, "--num-frames", 2])))
    model = Path("runs/own_method.recipe/model.safetensors")
    video = next(folder_of_videos.rglob("*.mp4"))
    del METHODS["cross_frame_prompts"]
    __import__("sys").modules.pop("own_method")
    assert "STILLMOTION_IMPORT=my_module" in fails(["predict", model, video], capsys)
    assert "is a folder; pass the model in it" in fails(["predict", model.parent, video], capsys)
    monkeypatch.setenv("STILLMOTION_IMPORT", "own_method")
    main(["predict", str(model), str(video)])
    assert "left" in capsys.readouterr().out
    monkeypatch.setenv("STILLMOTION_IMPORT", "no_such_module")
    assert "cannot import 'no_such_module'" in fails(["predict", model, video], capsys)
    METHODS.pop("cross_frame_prompts", None)
