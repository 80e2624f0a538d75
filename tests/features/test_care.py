"""`stillmotion cache`: what is there, flipped bits, parts that go, and what another cache has."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.features.care import find, kept, merge, remove
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.models.features import Features
from tests.cli.test_cli import run

SPEC = FeatureSpec(backbone="a" * 64, num_frames=2, preprocess=Preprocess(size=(32, 48)), sampling=Sampling())
OTHER = replace(SPEC, num_frames=4)


def fill(root: Path, spec: FeatureSpec, *items: str) -> FeatureStore:
    """A cache with a shard for each item."""
    store = FeatureStore(root, spec)
    for item in items:
        store.add(item, Features({"frames": torch.full((2, 8), float(len(item))), "out.0": torch.ones(2, 3, 8)}))
        store.flush()
    return store


def shard_of(store: FeatureStore, item: str) -> Path:
    (index,) = [p for p in store.folder.glob("shard-*.json") if item in json.loads(p.read_text())["items"]]
    return index.with_suffix(".safetensors")


def flip(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)


def test_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "cache", "ls", "--cache", tmp_path)[1] == f"{tmp_path} holds no features\n"
    fill(tmp_path, SPEC, "x", "yy")
    fill(tmp_path, OTHER, "x")
    (tmp_path / "mine").mkdir()
    first, second = kept(tmp_path)
    assert (first.folder.name, first.views, first.outputs) == (SPEC.key, 2, ("frames", "out.0"))
    assert (second.folder.name, second.views) == (OTHER.key, 1) and second.bytes < first.bytes
    assert first.bytes == sum(path.stat().st_size for path in first.folder.iterdir())
    lines = run(capsys, "cache", "ls", "--cache", tmp_path)[1].splitlines()
    assert lines[1].split() == [
        SPEC.key,
        "aaaaaaaa,",
        "2",
        "frames",
        "of",
        "32x48,",
        "fp32",
        "2",
        "2",
        *lines[1].split()[-2:],
    ]
    assert len(lines) == 4 and str(tmp_path) in lines[3]


def test_names_may_be_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for spec in (SPEC, OTHER):
        fill(tmp_path, spec, "x")
    assert [p.name for p in find(tmp_path, [OTHER.key[:6], SPEC.key, SPEC.key[:8]])] == [OTHER.key, SPEC.key]
    code, _, err = run(capsys, "cache", "rm", "nothing", "--cache", tmp_path)
    assert code == 2 and "'nothing': the feature cache" in err and "has no such part" in err
    assert "name what to remove" in run(capsys, "cache", "rm", "--cache", tmp_path)[2]
    assert "did you mean 'verify'?" in run(capsys, "cache", "verfy")[2]
    assert len(kept(tmp_path)) == 2, "nothing was removed"


def test_flipped_bits_are_found_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = fill(tmp_path, SPEC, "x", "yy", "zzz")
    assert run(capsys, "cache", "verify", "--cache", tmp_path)[:2] == (0, "every tensor has its checksum\n")
    shard = shard_of(store, "yy")
    flip(shard)
    index = shard_of(store, "zzz").with_suffix(".json")
    index.write_text("{")
    code, _, err = run(capsys, "cache", "verify", SPEC.key[:5], "--cache", tmp_path)
    assert code == 2 and f"{shard} is damaged: out.0 of yy has another checksum" in err
    assert "2 of the shards are damaged, named above; pass --remove" in err
    code, out, _ = run(capsys, "cache", "verify", "--remove", "--cache", tmp_path)
    assert (code, out) == (0, "2 damaged shards were removed\n")
    assert len(list(store.folder.glob("shard-*"))) == 2
    assert FeatureStore(tmp_path, SPEC).read("x", ["frames"])["frames"].tolist() == torch.ones(2, 8).tolist()


def test_parts_are_removed_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = fill(tmp_path, SPEC, "x")
    fill(tmp_path, OTHER, "x")
    (store.folder / "notes.txt").write_text("mine")
    code, out, _ = run(capsys, "cache", "rm", SPEC.key, "--cache", tmp_path)
    assert code == 0 and out.startswith(f"{SPEC.key}: ") and out.endswith("are free\n")
    assert [p.name for p in store.folder.iterdir()] == ["notes.txt"]
    assert [one.folder.name for one in kept(tmp_path)] == [OTHER.key]
    assert run(capsys, "cache", "rm", "--all", "--cache", tmp_path)[0] == 0
    assert kept(tmp_path) == [] and not (tmp_path / OTHER.key).exists()
    remove(fill(tmp_path, SPEC, "x").folder)
    assert not FeatureStore(tmp_path, SPEC).holds("x")


def test_another_cache_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, SPEC, "x")
    other = fill(there, SPEC, "yy", "zzz")
    fill(there, OTHER, "x")
    flip(shard_of(other, "zzz"))
    from stillmotion.features import care

    copy, count = care._copy, 0

    def stopped(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == 3:  # the index of the first shard
            raise KeyboardInterrupt
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(care, "_copy", stopped)
        with pytest.raises(KeyboardInterrupt):
            merge(there, here)
    assert sum(one.views for one in kept(here)) == 1, "a shard without its index is not there"
    code, out, err = run(capsys, "cache", "merge", there, "--cache", here)
    assert (code, out) == (0, "2 shards copied\n") and "is damaged and was left out: out.0 of zzz" in err
    store = FeatureStore(here, SPEC)
    assert [store.holds(item) for item in ("x", "yy", "zzz")] == [True, True, False]
    assert store.read("yy", ["frames"])["frames"].unique().tolist() == [2.0]
    assert FeatureStore(here, OTHER).holds("x")
    assert run(capsys, "cache", "merge", there, "--cache", here)[1] == "nothing that is not here already\n"
    assert "holds no features" in run(capsys, "cache", "merge", tmp_path, "--cache", here)[2]
