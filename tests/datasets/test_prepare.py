"""Each known data set becomes one manifest: labels, splits and sources as counted by hand from its small copy."""

import json
from pathlib import Path

import pytest

from stillmotion.cli import main
from stillmotion.data.entries import read_listing
from stillmotion.data.manifest import read_label_map
from stillmotion.datasets import Prepared, prepare
from stillmotion.errors import DataError
from tests.datasets import layouts


def rows(found: Prepared) -> dict[str, tuple[str, str | None, str | None]]:
    """Label, split and source of each clip."""
    return {e.path: (e.label, e.split, e.source) for e in found.listing.entries}


def test_ucf101(tmp_path: Path) -> None:
    found = prepare("UCF-101", layouts.ucf101(tmp_path))
    assert rows(found) == {
        f"UCF-101/{label}/v_{label}_g{group}_c01.avi": (label, split, f"{label}_g{group}")
        for label in ("ApplyEyeMakeup", "Archery")
        for group, split in (("01", "train"), ("02", "train"), ("08", "test"), ("09", "train"))
        if (label, group) != ("Archery", "09")
    }
    assert found.missing == ("Archery/v_Archery_g09_c01.avi",)
    first, header = found.listing.entries[0], found.listing.header
    assert (first.frames, first.width, first.height, first.duration) == (8, 48, 32, 0.32)
    assert first.bytes == (tmp_path / first.path).stat().st_size
    assert header.classes == layouts.UCF and header.prompts[:3] == ("apply eye makeup", "archery", "yo yo")
    second = prepare("ucf101", tmp_path, official=2)
    assert {e.path: e.split for e in second.listing.entries if "_g08_" in e.path or "_g09_" in e.path} == {
        "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi": "train",
        "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g09_c01.avi": "test",
        "UCF-101/Archery/v_Archery_g08_c01.avi": "train",
    }
    assert [e.splits for e in second.listing.entries] == [e.splits for e in found.listing.entries]


def test_hmdb51(tmp_path: Path) -> None:
    found = prepare("hmdb51", layouts.hmdb51(tmp_path))
    assert [(e.label, e.split, e.source, e.splits) for e in found.listing.entries] == [
        ("brush_hair", "train", "film#0", {"1": "train", "2": "test"}),
        ("brush_hair", "test", "film#1", {"1": "test", "2": "train"}),
        ("brush_hair", None, "film#2", None),
    ]
    assert len(found.missing) == 50 and found.listing.header.prompts[0] == "brush hair"


def test_kinetics(tmp_path: Path) -> None:
    found = prepare("k400", layouts.k400(tmp_path))
    assert rows(found) == {
        "train/abseiling/train000000_000000_000010.mp4": ("abseiling", "train", "train000000"),
        "train/air_drumming/-E4_ab=defg_000005_000015.mp4": ("air drumming", "train", "-E4_ab=defg"),
        "train/-E4_ab=defg_000045_000055.mp4": ("air drumming", "train", "-E4_ab=defg"),
        "val/valvalval00.mp4": ("abseiling", "val", "valvalval00"),
        "val/valvalval01_000000_000010.mp4": ("air drumming", "val", "valvalval01"),
    }
    assert len(found.missing) == 399 and found.unlabeled == 1
    assert found.listing.header.prompts == found.listing.header.classes == layouts.K400
    with pytest.raises(DataError, match=r"names 400 classes, and Kinetics-600 has 600; .* of another version"):
        prepare("kinetics600", tmp_path)


def test_a_clip_in_the_folder_of_another_class_is_another_clip(tmp_path: Path) -> None:
    layouts.k400(tmp_path)
    (tmp_path / "train/abseiling").rename(tmp_path / "train/doing 007")
    assert "train000000_000000_000010" in prepare("k400", tmp_path).missing


def test_something_something(tmp_path: Path) -> None:
    found = prepare("ssv2", layouts.ssv2(tmp_path))
    many = "Putting something, something and something on the table"
    assert [(Path(e.path).stem, e.label, e.split) for e in found.listing.entries] == [
        ("1", "Holding something", "train"),
        ("2", many, "train"),
        ("3", "Holding something", "val"),
        ("4", many, "test"),
    ]
    assert found.unlabeled == 1 and found.listing.header.prompts[1] == many
    (tmp_path / "labels" / "something-something-v1-train.csv").write_text("1;Holding something\n")
    with pytest.raises(DataError, match="v1, and 2 is read"):
        prepare("ssv2", tmp_path)


def test_diving48(tmp_path: Path) -> None:
    found = prepare("diving48", layouts.diving48(tmp_path))
    assert [(Path(e.path).stem, e.label, e.split, e.source) for e in found.listing.entries] == [
        ("_8Vy3dlHg2w_00000", "Back 15som 05Twis FREE", "train", "_8Vy3dlHg2w"),
        ("_8Vy3dlHg2w_00001", "Forward Dive NoTwis PIKE", "train", "_8Vy3dlHg2w"),
        ("abcdefghijk_00007", "Back 15som 05Twis FREE", "test", "abcdefghijk"),
    ]
    assert found.listing.header.prompts[:2] == (
        "back dive, 1.5 somersaults, 0.5 twists, free position",
        "forward dive, pike position",
    )
    (tmp_path / "Diving48_test.json").write_text("[]")
    with pytest.raises(DataError, match="version 1 and 2"):
        prepare("diving48", tmp_path)


def test_any_folder_and_what_cannot_be_opened(tmp_path: Path) -> None:
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        for i in range(count):
            layouts.clip(tmp_path / split / "SitDown" / f"ann_{split}{i}.mp4", seed=len(split) + i)
            layouts.clip(tmp_path / split / "stand_up" / f"bob_{split}{i}.mp4", seed=10 + len(split) + i)
    (tmp_path / "train" / "SitDown" / "ann_bad.mp4").write_bytes(b"")
    found = prepare("folder", tmp_path, group=r"/([a-z]+)_\w+\.")
    splits = [(e.split, e.label, e.source) for e in found.listing.entries]
    assert splits == [
        ("test", "SitDown", "ann"), ("test", "stand_up", "bob"), ("train", "SitDown", "ann"),
        ("train", "SitDown", "ann"), ("train", "SitDown", "ann"), ("train", "stand_up", "bob"),
        ("train", "stand_up", "bob"), ("val", "SitDown", "ann"), ("val", "stand_up", "bob"),
    ]  # fmt: skip
    assert found.listing.header.prompts == ("sit down", "stand up")
    ((path, why),) = found.unreadable
    assert path == "train/SitDown/ann_bad.mp4" and "empty (0 bytes)" in why


@pytest.mark.parametrize("end", [".jsonl", ".parquet"])
def test_the_manifest_on_disk(tmp_path: Path, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = layouts.ucf101(tmp_path / "data"), tmp_path / "lists" / f"ucf{end}"
    main(["data", "prepare", "ucf101", "--root", str(root), "-o", str(out)])
    printed = capsys.readouterr()
    assert printed.out.endswith("\n".join(str(out.with_name(f"ucf{e}")) for e in
                                          (end, ".labels.csv", ".prompts.csv", ".missing.txt")) + "\n")  # fmt: skip
    assert "1 of 8 clips are missing, the first: Archery/v_Archery_g09_c01.avi" in printed.err
    assert "6.5 GB" in printed.err, "how large the set is"
    listing, made = read_listing(out), prepare("ucf101", root).listing
    assert (listing.header.root, listing.entries) == ("../data", made.entries)
    assert listing.root.resolve() == root.resolve()
    assert read_label_map(out.with_name("ucf.labels.csv")) == layouts.UCF
    assert read_label_map(out.with_name("ucf.prompts.csv"))[0] == "apply eye makeup"
    assert out.with_name("ucf.missing.txt").read_text() == "Archery/v_Archery_g09_c01.avi\n"
    layouts.clip(root / "UCF-101/Archery/v_Archery_g09_c01.avi", 99)
    main(["data", "prepare", "ucf101", "--root", str(root), "-o", str(out)])
    assert not out.with_name("ucf.missing.txt").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"classInd.txt": "1 ApplyEyeMakeup\n"}, r"names 1 classes, and UCF-101 has 101; .* another version"),
        ({"classInd.txt": "0 ApplyEyeMakeup\n"}, r"where '1 NAME' belongs"),
        ({"trainlist01.txt": "ApplyEyeMakeUp/v_x_g01_c01.avi 1"}, r"list01.txt:1: unknown label 'ApplyEyeMakeUp'"),
        ({"trainlist01.txt": "Archery/v_Archery_g01_c01.avi 1\n"}, r"Archery is 1, and 2 in classInd.txt"),
        ({"testlist01.txt": "Archery/v_Archery_g01_c01.avi\n"}, r"in the training and the test list of split 1"),
    ],
)  # fmt: skip
def test_wrong_annotations_are_one_line(
    tmp_path: Path, spoil: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = layouts.ucf101(tmp_path)
    for name, text in spoil.items():
        (root / "ucfTrainTestlist" / name).write_text(text)
    with pytest.raises(DataError, match=message):
        prepare("ucf101", root)
    with pytest.raises(SystemExit) as stop:
        main(["data", "prepare", "ucf101", "--root", str(root), "-o", str(tmp_path / "out" / "ucf.jsonl")])
    assert stop.value.code == 2 and not (tmp_path / "out").exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", ["k400", "ssv2", "ucf101", "hmdb51", "diving48"])
def test_what_to_fetch_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"below .*; fetch .* GB.* below --root"):
        prepare(name, tmp_path)


def test_values(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no data set 'ucf102'; did you mean 'ucf101'"):
        prepare("ucf102", tmp_path)
    with pytest.raises(DataError, match="no folder"):
        prepare("ucf101", tmp_path / "none")
    with pytest.raises(SystemExit):
        main(["data", "prepare", "folder", "--root", str(tmp_path), "-o", "manifest.csv"])
    with pytest.raises(DataError, match="are for lists, which are not given"):
        prepare("folder", tmp_path, labels=tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"path": "../b.mp4", "label": "Archery"}, r"m.jsonl:3: '../b.mp4' points outside the root"),
        ({"path": "b.mp4", "label": "archer"}, r"m.jsonl:3: unknown label 'archer'; did you mean 'Archery'"),
        ({"label": "Archery"}, r"m.jsonl:3 lacks a path or a label"),
        ({"path": "b.mp4", "label": "Archery", "frames": "8"}, r"m.jsonl:3: frames is '8'"),
        ([], r"m.jsonl:3 is no object"),
    ],
)
def test_a_damaged_manifest(tmp_path: Path, line: object, message: str) -> None:
    head = {"stillmotion": "manifest/1", "dataset": "x", "root": ".", "classes": ["Archery"], "prompts": ["archery"]}
    good = {"path": "a.mp4", "label": "Archery"}
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, (head, good, line))))
    with pytest.raises(DataError, match=message):
        read_listing(tmp_path / "m.jsonl")
