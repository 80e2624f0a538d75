"""`eval` reads a frozen backbone's outputs from the cache that training filled, clip by clip."""

import json
import shutil
from pathlib import Path

import pytest

from stillmotion.cli import main
from stillmotion.data.entries import read_listing
from tests.videos import write_video


def probabilities(folder: Path) -> dict[str, list[float]]:
    lines = (folder / "eval_predictions.jsonl").read_text().splitlines()
    return {Path(line["path"]).name: line["probabilities"] for line in map(json.loads, lines)}


def test_cached_clips_are_not_decoded_again_and_new_ones_are(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data, cache = tmp_path / "videos", tmp_path / "cache"
    shutil.copytree(folder_of_videos, data)
    words = ["train", "evl", "--data", data, "--backbone", tiny_clip, "--layers", 2, "--num-frames", 4, "--epochs", 2]
    main(list(map(str, [*words, "--out", tmp_path / "run", "--cache", cache])))
    write_video(data / "left" / "new.mp4", frames=20, seed=99)

    def evaluate(name: str, *more: object) -> tuple[dict[str, list[float]], str]:
        model = tmp_path / "run" / "model.safetensors"
        main(list(map(str, ["eval", model, "--data", data, "--out", tmp_path / name, *more])))
        return probabilities(tmp_path / name), capsys.readouterr().err

    decoded: list[str] = []
    import stillmotion.data.dataset as module

    whole = module.read_views
    monkeypatch.setattr(module, "read_views", lambda path, *a: decoded.append(path.name) or whole(path, *a))
    capsys.readouterr()
    cached, said = evaluate("cached", "--cache", cache)
    assert decoded == ["new.mp4"]
    assert "scoring 13 videos, 1 view of each" in said and "12 of 13 videos are in the feature cache" in said
    assert "warning: the model was trained on 10 of these clips, the first " in said
    decoded.clear()
    live, said = evaluate("live", "--no-cached")
    assert len(decoded) == 13 and "feature cache" not in said
    assert cached.keys() == live.keys()
    assert all(cached[name] == pytest.approx(live[name], abs=5e-3) for name in live)
    assert cached["new.mp4"] == pytest.approx(live["new.mp4"], abs=1e-6)
    assert any(cached[n] != live[n] for n in live), "the cache is float16"
    more, said = evaluate("more", "--cache", cache, "--views", 2)
    assert "feature cache" not in said and more.keys() == live.keys(), "other views are not in the cache"
    assert "scoring 13 videos, 2 views of each" in said
    listing = read_listing(tmp_path / "run" / "clips.jsonl")
    assert {e.split for e in listing.entries} == {"train", "val"} and len(listing.entries) == 12
    for e in listing.entries:  # elsewhere, under other names, they are the same
        copy = tmp_path / (e.split or "") / e.label / f"copy_of_{Path(e.path).name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(listing.root / e.path, copy)
    assert "was trained on" not in evaluate("others", "--data", tmp_path / "val")[1]
    assert "was trained on 10 of these clips" in evaluate("same", "--data", tmp_path / "train")[1]
    (tmp_path / "run" / "clips.jsonl").write_text("{")
    assert "nobody looks whether the model has seen these clips" in evaluate("damaged", "--data", tmp_path / "train")[1]
