"""An audit finds what was planted: each fault once, and nothing in a sound set."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from stillmotion.cli import main
from stillmotion.data.entries import Entry, Header, Listing
from stillmotion.datasets import audit, prepare
from stillmotion.datasets.copies import which_copy
from stillmotion.datasets.looking import Seen, look
from stillmotion.datasets.nearness import near_pairs
from stillmotion.errors import StillmotionError
from tests.datasets import layouts
from tests.videos import write_video


def sound(root: Path, size: tuple[int, int] = (48, 32)) -> Path:
    """Two classes; two clips of each to train, one to test; sources apart."""
    entries = []
    for k, label in enumerate(("sit", "stand")):
        for i, split in enumerate(("train", "train", "test")):
            path = f"{label}/{split}{i}.mp4"
            layouts.clip(root / path, 10 * k + i, frames=10, size=size)
            entries.append(Entry(path, label, split, source=f"{label}{i}"))
    manifest = root / "m.jsonl"
    Listing(Header("mine", classes=("sit", "stand"), prompts=("sit", "stand")), tuple(entries), root).write(manifest)
    return manifest


def add(manifest: Path, *entries: Entry) -> None:
    from stillmotion.data.entries import read_listing

    listing = read_listing(manifest)
    replace(listing, entries=(*listing.entries, *entries)).write(manifest)


def test_a_sound_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = sound(tmp_path / "data")
    main(["data", "audit", str(manifest), "--out", str(tmp_path / "a"), "--strict"])
    assert capsys.readouterr().out.startswith("6 clips: nothing is wrong\n")
    found = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert (found["problems"], found["faults"], found["pairs"], found["copy"]) == ({}, [], [], [])
    assert found["classes"] == {k: {"train": 2, "test": 1} for k in ("sit", "stand")}
    assert (found["fps"], found["sizes"], found["seconds"]) == ({"25": 6}, {"48x32": 6}, {"0 to 0.5 s": 6})
    page = (tmp_path / "a" / "audit.html").read_text()
    assert "Nothing is wrong" in page and page.count("data:image/jpeg") == 6
    assert "no copy or source is on both sides of a split" in page


def test_a_folder_has_no_sides(tmp_path: Path) -> None:
    """And its clips' lengths are in their order, whichever is the commonest."""
    for k, label in enumerate(("sit", "stand")):
        for i, frames in enumerate((10, 20, 20, 300)):
            layouts.clip(tmp_path / "data" / label / f"{i}.mp4", 10 * k + i, frames=frames, size=(48, 32))
    main(["data", "audit", str(tmp_path / "data"), "--out", str(tmp_path / "a")])
    page = (tmp_path / "a" / "audit.html").read_text()
    assert "Audit of data" in page and "no two are copies; there is no split yet" in page and "both sides" not in page
    lengths = re.findall(r"([\d.]+ to [\d.]+ s)", page)
    assert lengths == ["0 to 0.5 s", "0.5 to 1 s", "10.5 to 15 s"]


def test_what_was_planted_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = tmp_path / "data", tmp_path / "a"
    manifest = sound(root)
    (root / "sit/empty.mp4").write_bytes(b"")
    (root / "sit/text.mp4").write_bytes(b"no video")
    shutil.copy(root / "sit/train0.mp4", root / "sit/copy.mp4")
    # The same pictures, encoded in another way.
    write_video(root / "stand/again.mp4", 10, size=(48, 32), seed=10, options={"crf": "21", "g": "3"})
    layouts.clip(root / "train_256/x.mp4", 77)
    add(
        manifest,
        Entry("sit/empty.mp4", "sit", "train"),
        Entry("sit/text.mp4", "sit", "train"),
        Entry("sit/gone.mp4", "sit", "train"),
        Entry("sit/copy.mp4", "stand", "test"),
        Entry("stand/again.mp4", "stand", "test"),
        Entry("train_256/x.mp4", "stand", "test", source="stand0"),
    )
    found = audit(manifest, out)
    assert found.problems == {
        "missing": 1,
        "empty": 1,
        "unreadable": 1,
        "exact copies in training and test": 1,
        "near copies in training and test": 1,
        "sources in training and test": 1,
        "copies with different labels": 1,
        "test clips in a folder named train": 1,
    }
    assert [(s.path, s.fault) for s in found.seen if s.fault] == [
        ("sit/empty.mp4", "empty"), ("sit/text.mp4", "unreadable"), ("sit/gone.mp4", "missing")]  # fmt: skip
    exact, near = found.pairs
    assert {exact.first, exact.second} == {"sit/train0.mp4", "sit/copy.mp4"} and exact.exact and exact.leaks
    assert {near.first, near.second} == {"stand/train0.mp4", "stand/again.mp4"} and 0 < near.distance <= 0.08
    assert found.sources == {"stand0": ("test", "train")}
    capsys.readouterr()
    main(["data", "audit", str(manifest), "-o", str(out)])
    assert "the audit found 8 faults" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["data", "audit", str(manifest), "-o", str(out), "--strict"])
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the audit found 1 missing, 1 empty, 1 unreadable, 1 exact copies in training and")


def test_a_stopped_audit_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, out = sound(tmp_path / "data"), tmp_path / "a"
    first = audit(manifest, out)
    lines = (out / "clips.jsonl").read_text().splitlines()
    (out / "clips.jsonl").write_text("\n".join(lines[:4]) + "\n" + lines[4][:30] + "\n")
    looked = []

    def count(file: Path, path: str, shown: bool) -> Seen:
        looked.append(path)
        return look(file, path, shown)

    monkeypatch.setattr("stillmotion.datasets.looking.look", count)
    assert audit(manifest, out).to_dict() == first.to_dict()
    assert len(looked) == 2
    layouts.clip(tmp_path / "data" / "sit" / "train0.mp4", 50, frames=12)
    audit(manifest, out)
    assert looked[2:] == ["sit/train0.mp4"], "a changed clip is looked at again"


def test_processes_find_the_same(tmp_path: Path) -> None:
    manifest = sound(tmp_path / "data")
    assert audit(manifest, tmp_path / "a").to_dict() == audit(manifest, tmp_path / "b", workers=2).to_dict()


def test_a_clip_that_is_cut_short(tmp_path: Path) -> None:
    """The header stands at the front and announces 60 frames; the second half of the data is gone."""
    path = write_video(tmp_path / "a.avi", 60, "mpeg4")
    whole = path.read_bytes()
    assert look(path, "a.avi", False).fault == ""
    path.write_bytes(whole[: len(whole) // 2])
    seen = look(path, "a.avi", False)
    assert seen.fault == "cut short" and seen.frames < 50 and f"{seen.frames} frames can be decoded of 60" in seen.why


def test_few_shot_in_test_and_zero_shot_in_train(tmp_path: Path) -> None:
    """Training clips of split 1 that split 2 tests on; clips of a zero-shot list that the other set trains on."""
    root = layouts.ucf101(tmp_path / "ucf")
    ucf = prepare("ucf101", root)
    ucf.write(tmp_path / "ucf.jsonl")
    (tmp_path / "val.txt").write_text(
        "Archery/v_Archery_g01_c01.avi Archery\nApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi ApplyEyeMakeup\n"
    )
    prepare("ucf101", root, lists=[tmp_path / "val.txt"]).write(tmp_path / "zero.jsonl")
    assert audit(tmp_path / "ucf.jsonl", tmp_path / "a").official == {"2": 1}
    found = audit(tmp_path / "zero.jsonl", tmp_path / "b", against=[tmp_path / "ucf.jsonl"])
    (other,) = found.against
    assert other.classes == ("ApplyEyeMakeup", "Archery") and other.sources == 2
    assert other.clips == {
        "val here, in test there": 1,
        "val here, in train there": 1,
        "val here, in test of split 1 there": 1,
        "val here, in train of split 1 there": 1,
        "val here, in train of split 2 there": 2,
    }
    assert found.problems["test clips that ucf.jsonl trains on"] == 1


def test_copies_of_kinetics() -> None:
    def told(name: str, count: int, sizes: list[tuple[int, int]]) -> str:
        entries = tuple(Entry(f"{i}.mp4", "a", "val") for i in range(count))
        seen = [Seen(f"{i}.mp4", frames=9, width=w, height=h) for i, (w, h) in enumerate(sizes)]
        return " ".join(which_copy(Listing(Header(name, classes=("a",)), entries), seen))

    assert told("ucf101", 3, [(320, 240)]) == ""
    assert "340x256: a copy squeezed" in told("kinetics400", 3, [(340, 256)] * 20)
    assert "short side of 256 pixels: a resized and re-encoded" in told("kinetics400", 3, [(454, 256), (256, 340)] * 9)
    assert "go from 240 to 720 pixels" in told("kinetics600", 3, [(320, 240), (1280, 720)] * 9)
    assert told("kinetics400", 19877, [(340, 256)]).endswith("as many as in the list that ViFi-CLIP ships.")
    assert "19,000 validation clips are as many as in no known copy" in told("kinetics400", 19000, [(340, 256)])


def test_near_pairs_are_those_that_all_pairs_would_give() -> None:
    import random

    rng = random.Random(0)
    base = [[rng.getrandbits(256) for _ in range(5)] for _ in range(30)]

    def flip(row: list[int], bits: int) -> list[str]:
        return [f"{h ^ sum(1 << b for b in rng.sample(range(256), bits)):064x}" for h in row]

    hashes = [[f"{h:064x}" for h in row] for row in base] + [flip(row, 12) for row in base[:10]]
    hashes += [flip(row, 24) for row in base[10:20]]
    found = near_pairs(hashes, 0.08)
    assert found == [(i, 30 + i, 12 / 256) for i in range(10)]
    assert len(near_pairs(hashes, 0.1)) == 20
    flat = [["", "", "", *row[3:]] for row in hashes]
    assert near_pairs(flat, 0.08) == [], "two frames say too little"
    assert near_pairs([], 0.08) == near_pairs([[""]], 0.08) == []


def test_values(tmp_path: Path) -> None:
    with pytest.raises(StillmotionError, match=r"near is 0\.5"):
        audit(sound(tmp_path), tmp_path / "a", near=0.5)
