"""A run's folder: one trainer at a time, no leftovers, what may differ when it goes on, damaged files in one line."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError
from stillmotion.experiment import fit
from stillmotion.files import write_json
from stillmotion.methods import EVL
from stillmotion.recipes.base import Place, Recipe, declared
from stillmotion.training.config import Train
from stillmotion.training.run_folder import RunFolder

CONFIG: dict[str, Any] = {
    "recipe": {
        "method": {"name": "own", "device": "left hand", "workers": 3},
        "train": {"lr": 0.1, "workers": 0, "device": "cpu"},
    },
    "data": {"data": "clips", "root": None, "labels": "map.csv", "val_fraction": 0.2},
    "place": {"out": "a", "cache": None},
    "clips": "0f",
}


def changed(config: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The configuration with other values, nested as it is."""
    return config | {k: changed(config[k], v) if isinstance(v, dict) else v for k, v in change.items()}


def begun(path: Path, config: dict[str, Any] = CONFIG) -> None:
    """Leave what a run leaves that was killed."""
    folder = RunFolder(path, config, overwrite=True)
    folder.save_state({"step": 1})
    folder.close()


HOLDER = """
import sys; from pathlib import Path
from stillmotion.training.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]), {"a": 1})
print("locked", flush=True); sys.stdin.read()
"""


def test_a_second_trainer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "run"], stdin=-1, stdout=-1, text=True)
    assert first.stdin and first.stdout
    assert first.stdout.readline() == "locked\n"
    with pytest.raises(StillmotionError, match=r"another process is training in .*run; wait for it") as error:
        RunFolder(tmp_path / "run", {"a": 1}, overwrite=True)
    assert "\n" not in str(error.value)
    first.kill()
    first.communicate()
    RunFolder(tmp_path / "run", {"a": 1}).close()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.json"], "the lock is no file of the run"


def test_the_lock_ends_with_the_run_or_its_error(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    train = Train(lr=1e-3, epochs=1, batch_size=4, device="cpu", workers=0)
    recipe = Recipe(method=EVL(num_frames=2, layers=2), train=train, backbone=str(tiny_clip))
    data, place = Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache")
    with pytest.raises(StillmotionError, match="7 heads do not divide"):
        fit(replace(recipe, method=EVL(num_frames=2, heads=7)), data, place)
    assert not (tmp_path / "run" / ".lock").exists()
    fit(recipe, data, place)
    assert not (tmp_path / "run" / ".lock").exists()
    # A moved data folder, and a field that an older version did not write, are the same run.
    moved = tmp_path / "moved"
    moved.symlink_to(folder_of_videos)
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text())
    del config["recipe"]["train"]["clip_grad"], config["recipe"]["sampling"]["views"]
    del config["classes"], config["recipe"]["flip"]
    file.write_text(json.dumps(config))
    assert fit(recipe, Data(data=moved), place, keep=True).report.scored == 2
    results = tmp_path / "run" / "results.json"
    whole = results.read_text()
    for text in ("[]", "{}", "{", "[" * 100_000):
        results.write_text(text)
        with pytest.raises(StillmotionError, match=r"cannot read .*results\.json .*; pass --overwrite"):
            fit(recipe, Data(data=moved), place, keep=True)
    results.write_text(whole)
    del config["recipe"]["train"]["label_smoothing"]
    file.write_text(json.dumps(config))
    smooth = replace(recipe, train=replace(train, label_smoothing=0.1))
    with pytest.raises(StillmotionError, match=r"train\.label_smoothing was 0\.0, is 0\.1"):
        fit(smooth, data, place, keep=True)


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    begun(tmp_path)
    for name in (".state.pt.abc.tmp", ".model.safetensors.x1.tmp", ".metrics.jsonl.q.tmp", ".mine.tmp", "state.pt.tmp"):
        (tmp_path / name).touch()
    RunFolder(tmp_path, CONFIG).close()
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "state.pt", ".mine.tmp", "state.pt.tmp"}


def test_what_a_killed_writer_left_long_ago_is_removed_by_the_next(tmp_path: Path) -> None:
    names = (".a[1].json.45pdpr85.tmp", ".b.json.45pdpr85.tmp")
    for name in names:
        (tmp_path / name).touch()
    write_json(tmp_path / "a[1].json", 1)
    assert all((tmp_path / name).exists() for name in names), "another process may be writing them"
    for name in names:
        os.utime(tmp_path / name, (1e9, 1e9))
    write_json(tmp_path / "a[1].json", 2)
    assert [(tmp_path / name).exists() for name in names] == [False, True]


def test_what_may_differ_is_named_in_full(tmp_path: Path) -> None:
    begun(tmp_path)
    free = {"recipe": {"train": {"workers": 8, "device": "auto"}}, "data": {"data": "moved", "labels": "moved.csv"}}
    RunFolder(tmp_path, changed(CONFIG, free | {"place": {"out": "b", "cache": "elsewhere"}})).close()
    for change, name in (
        ({"recipe": {"method": {"device": "right hand"}}}, r"recipe\.method\.device was 'left hand', is 'right hand'"),
        ({"recipe": {"method": {"workers": 4}}}, r"recipe\.method\.workers was 3, is 4"),
        ({"clips": "1e"}, "other clips"),
        ({"data": {"val_fraction": 0.5}}, r"data\.val_fraction was 0\.2, is 0\.5"),
    ):
        with pytest.raises(StillmotionError, match=rf"other settings \({name}\)"):
            RunFolder(tmp_path, changed(CONFIG, change))


def test_a_field_that_is_missing_has_its_default(tmp_path: Path) -> None:
    begun(tmp_path)
    new = changed(CONFIG, {"recipe": {"train": {"clip_grad": None, "momentum": 0.9}}})
    defaults = {"recipe": {"train": {"momentum": 0.9}}}
    RunFolder(tmp_path, new, defaults=defaults).close()
    begun(tmp_path)
    new = changed(CONFIG, {"recipe": {"train": {"momentum": 0.8}}})
    with pytest.raises(StillmotionError, match=r"recipe\.train\.momentum was 0\.9, is 0\.8"):
        RunFolder(tmp_path, new, defaults=defaults)


def test_declared_defaults_are_those_of_the_classes() -> None:
    plain = declared(Recipe(method=EVL(layers=7), train=Train(lr=3.0), flip=0.3))
    assert (plain.method, plain.train, plain.flip) == (EVL(), Train(), 0.0)
    assert declared(Data(data=Path("x"), val_fraction=0.4)) == Data(data=Path("x"))


@pytest.mark.parametrize("text", ["[]", "3", '"config"', "{", "", "[" * 100_000, "null"])
def test_a_damaged_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    begun(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(StillmotionError, match=r"config\.json is damaged; choose another --out") as error:
        RunFolder(tmp_path, CONFIG)
    assert "\n" not in str(error.value)


def test_a_damaged_state_says_nothing_of_unsafe_reading(tmp_path: Path) -> None:
    import pickle

    begun(tmp_path)
    for content in (b"no state", b"", pickle.dumps({"a": print}), (tmp_path / "state.pt").read_bytes()[:-30]):
        (tmp_path / "state.pt").write_bytes(content)
        folder = RunFolder(tmp_path, CONFIG)
        with pytest.raises(StillmotionError, match=r"state\.pt is damaged \(.*\); delete it to start over") as error:
            folder.load_state()
        folder.close()
        assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


def test_flipped_bits_of_a_state_are_noticed(tmp_path: Path) -> None:
    """Training would go on to another model."""
    folder = RunFolder(tmp_path, {})
    folder.save_state({"step": 1, "weights": torch.arange(20_000.0)})
    whole = (tmp_path / "state.pt").read_bytes()
    for place in range(len(whole) // 2, len(whole) // 2 + 40_000, 4_001):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "state.pt").write_bytes(damaged)
        with pytest.raises(StillmotionError, match=r"state\.pt is damaged \(.*checksum\); delete it to start over"):
            folder.load_state()
    (tmp_path / "state.pt").write_bytes(whole)
    state = folder.load_state()
    assert state is not None and state["step"] == 1


def test_damaged_metrics(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, CONFIG)
    good = [{"step": 0, "loss": 1.5, "seconds": 2}, {"step": 1, "top1": 0.5}, {"step": 1, "loss": 1.25, "seconds": 1}]
    lines = [json.dumps(line) for line in good]
    for wrong in ("[1]", "{}", '{"step": "x"}', "[" * 100_000, '{"step": 1, "lo'):
        folder.metrics.write_text("\n".join([*lines[:2], wrong, lines[2]]) + "\n")
        with pytest.raises(StillmotionError, match=r"metrics\.jsonl is damaged in line 3; remove that line"):
            folder.training_seconds()
        folder.rewind(1)
        assert folder.read_metrics() == good[:2], "what was taken after the last state goes, and the damaged line"
    folder.close()
