"""A manifest is what train, eval and predict take: splits, official splits, prompts as names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import stillmotion
from stillmotion.cli import main
from stillmotion.data.entries import Entry, Header, Listing
from stillmotion.data.find import find_videos
from stillmotion.data.source import Data, load_data, load_test_data
from stillmotion.errors import DataError
from tests.datasets import layouts

CLASSES, PROMPTS = ("SitDown", "StandUp"), ("sit down", "stand up")


def manifest(tmp_path: Path) -> Path:
    """Four clips of each class: two to train, one for val and test; in official split 2 the first one is tested."""
    entries = []
    for k, label in enumerate(CLASSES):
        for i, split in enumerate(("train", "train", "val", "test")):
            path = f"{label}/clip {i}.mp4"
            layouts.clip(tmp_path / "videos" / path, seed=10 * k + i)
            entries.append(Entry(path, label, split, {"2": "test" if i == 0 else "train"}, source=f"s{i}"))
    path = tmp_path / "lists" / "m.jsonl"
    Listing(Header("folder", classes=CLASSES, prompts=PROMPTS), tuple(entries), tmp_path / "videos").write(path)
    return path


def names(clips: stillmotion.data.manifest.Manifest) -> list[str]:
    return [f"{clips.classes[c.label]} {c.path.stem[-1]}" for c in clips.clips]


def test_train_and_val_by_split(tmp_path: Path) -> None:
    data = Data(data=manifest(tmp_path))
    train, val = load_data(data, seed=0)
    assert names(train) == ["SitDown 0", "SitDown 1", "StandUp 0", "StandUp 1"]
    assert names(val) == ["SitDown 2", "StandUp 2"]
    assert train.clips[0].path.is_file()
    assert names(load_data(replace(data, split="test"), seed=0)[1]) == ["SitDown 3", "StandUp 3"]
    train, val = load_data(replace(data, split="2"), seed=0)
    assert names(train) == [f"{c} {i}" for c in CLASSES for i in (1, 2, 3)]
    assert names(val) == ["SitDown 0", "StandUp 0"]
    assert names(load_test_data(data, CLASSES)) == ["SitDown 2", "StandUp 2"]
    assert names(load_test_data(replace(data, split="2:train"), None))[:3] == ["SitDown 1", "SitDown 2", "SitDown 3"]
    with pytest.raises(DataError, match=r"has no split 'tests'; did you mean 'test'"):
        load_data(replace(data, split="tests"), seed=0)


def test_names_as_prompts(tmp_path: Path) -> None:
    data = Data(data=manifest(tmp_path))
    assert load_test_data(data, ("stand up", "sit down")).clips[0].label == 1
    (tmp_path / "p.csv").write_text("id,name\n0,sit down\n1,stand up\n")
    train, val = load_data(replace(data, labels=tmp_path / "p.csv"), seed=0)
    assert train.classes == PROMPTS and [c.label for c in val.clips] == [0, 1]
    with pytest.raises(DataError, match="unknown label 'SitDown'"):
        load_test_data(data, ("walk", "run"))


def test_other_lists_beside_a_manifest(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    train, val = load_data(Data(data=path, val=path), seed=0)
    assert len(train) == 4 and names(val) == ["SitDown 2", "StandUp 2"]
    (tmp_path / "list.txt").write_text("videos/SitDown/clip 3.mp4 SitDown\n")
    with pytest.raises(DataError, match="--split test is for manifests"):
        load_test_data(Data(data=tmp_path / "list.txt", split="test"), None)
    assert names(load_data(Data(data=path, val=tmp_path / "list.txt"), seed=0)[1]) == ["SitDown 3"]
    only = tmp_path / "lists" / "only.jsonl"
    entries = (Entry("SitDown/clip 3.mp4", "SitDown", "test"),)
    Listing(Header(classes=CLASSES, prompts=PROMPTS), entries, tmp_path / "videos").write(only)
    with pytest.raises(DataError, match="has no clips of split 'train'"):
        load_data(Data(data=only), seed=0)


def test_predict_reads_a_part(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    assert len(find_videos([path])) == 8
    assert [Path(p).stem for p in find_videos([path], "test")] == ["clip 3", "clip 3"]
    assert Path(find_videos([path], "2")[0]).is_file()


def test_commands(
    tmp_path: Path, tiny_image_tower: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = manifest(tmp_path)
    monkeypatch.chdir(tmp_path)
    main(["train", "linear_probe", "--data", str(path), "--backbone", str(tiny_image_tower), "--epochs", "1",
          "--num-frames", "2", "--out", "run", "--no-report", "--duplicates", "keep"])  # fmt: skip
    model = "run/model.safetensors"
    assert stillmotion.load(model).classes == CLASSES
    main(["eval", model, "--data", str(path), "--split", "test", "--no-report"])
    scored = [json.loads(line)["path"] for line in Path("run/eval_predictions.jsonl").read_text().splitlines()]
    assert [Path(p).name for p in scored] == ["clip 3.mp4", "clip 3.mp4"]
    assert len(stillmotion.evaluate(model, data=path).classes) == 2
    capsys.readouterr()
    main(["predict", model, str(path), "--split", "2", "--json"])
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(one["path"]).stem for one in printed] == ["clip 0", "clip 0"]
