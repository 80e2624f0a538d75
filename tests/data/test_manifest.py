"""Folders, lists, label maps and splits; every fault is one line with the value, the rule and the fix."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stillmotion.data.manifest import clean_name, find_duplicates, find_split, read_label_map, read_manifest, split
from stillmotion.data.source import Data, load_data, load_test_data
from stillmotion.errors import DataError
from stillmotion.files import sha256


def touch(*paths: Path) -> None:
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{path}{i}".encode())


def make(root: Path, counts: dict[str, int]) -> Path:
    touch(*(root / label / f"clip{i}.mp4" for label, n in counts.items() for i in range(n)))
    return root


def test_folder_per_class(tmp_path: Path) -> None:
    make(tmp_path, {"wave": 2, "run fast": 1, "10": 1, "9": 1})
    touch(tmp_path / "wave" / "notes.txt", tmp_path / "wave" / ".hidden.mp4", tmp_path / "wave" / "deep" / "x.AVI")
    manifest = read_manifest(tmp_path)
    assert manifest.classes == ("9", "10", "run fast", "wave")
    assert manifest.counts() == [1, 1, 1, 3]


@pytest.mark.parametrize("kind", ["txt", "tabs", "csv", "jsonl"])
def test_list_files_with_spaces_in_paths(tmp_path: Path, kind: str) -> None:
    rows = [("a b/my clip.mp4", "run"), ("c.mp4", "wave")]
    if kind in ("txt", "tabs"):
        gap = " " if kind == "txt" else "\t"
        text = "# comment\n" + "".join(f"{p}{gap}{label}\n" for p, label in rows) + "\n"
    elif kind == "csv":
        text = "path,label,note\n" + "".join(f'"{p}",{label},x\n' for p, label in rows)
    else:
        text = "".join(json.dumps({"path": p, "label": label}) + "\n" for p, label in rows)
    source = tmp_path / f"list.{'txt' if kind == 'tabs' else kind}"
    source.write_text(text, encoding="utf-8-sig")
    manifest = read_manifest(source)
    assert manifest.classes == ("run", "wave")
    assert [c.path for c in manifest.clips] == [tmp_path / "a b/my clip.mp4", tmp_path / "c.mp4"]
    assert read_manifest(source, root=Path("/videos")).clips[1].path == Path("/videos/c.mp4")


def test_labels_may_be_numbers_of_a_map(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text('id,name\n0,run\n1,"jump, high"\n')
    (tmp_path / "list.txt").write_text("a.mp4 1\nb.mp4 run\n")
    names = read_label_map(tmp_path / "map.csv")
    assert names == ("run", "jump, high")
    assert [c.label for c in read_manifest(tmp_path / "list.txt", names).clips] == [1, 0]


def test_labels_that_are_numbers_are_names_without_a_map(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{half}{i}.mp4" for half in ("train", "val") for i in range(4)))
    (tmp_path / "train.txt").write_text("train0.mp4 0\ntrain1.mp4 1\ntrain2.mp4 2\ntrain3.mp4 5\n")
    (tmp_path / "val.txt").write_text("val0.mp4 5\nval1.mp4 2\n")
    train, val = load_data(Data(data=tmp_path), seed=0)
    assert train.classes == ("0", "1", "2", "5")
    assert [c.label for c in val.clips] == [3, 2]
    (tmp_path / "val.txt").write_text("val0.mp4 5\nval1.mp4 3\n")
    with pytest.raises(DataError, match=r"val\.txt:2: unknown label '3'; choose from 0, 1, 2, 5"):
        load_data(Data(data=tmp_path), seed=0)
    (tmp_path / "train.txt").write_text("train0.mp4 run\ntrain1.mp4 wave\n")
    (tmp_path / "val.txt").write_text("val0.mp4 1\n")
    with pytest.raises(DataError, match="unknown label '1'; choose from run, wave"):
        load_data(Data(data=tmp_path), seed=0)
    (tmp_path / "map.csv").write_text("0,wave\n1,run\n")
    assert [c.label for c in load_data(Data(data=tmp_path, labels=tmp_path / "map.csv"), seed=0)[1].clips] == [1]


def test_a_map_of_numbers_is_of_names(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.mp4 1\nb.mp4 2\n")
    assert [c.label for c in read_manifest(tmp_path / "list.txt", ("2", "1")).clips] == [1, 0]
    with pytest.raises(DataError, match=r"list\.txt:2: unknown label '2'"):
        read_manifest(tmp_path / "list.txt", ("9", "1", "7"))


def test_digits_that_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.mp4 m²\nb.mp4 ²\n", encoding="utf-8")
    assert read_manifest(tmp_path / "list.txt").classes == ("m²", "²")
    with pytest.raises(DataError, match=r"list\.txt:2: unknown label '²'"):
        read_manifest(tmp_path / "list.txt", ("m²", "run", "wave"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.txt", "a.mp4\n", r"list\.txt:1 has no label; every line needs a path and a label"),
        ("list.txt", "a.mp4 run\nmy clip.mp4\n", r"list\.txt:2 has no label; every line needs a path and a label"),
        ("list.txt", "a.mp4\tmy clip.MOV\n", r"list\.txt:1 has no label"),
        ("list.txt", "a.mp4 0\nb.mp4 7\n", r"list\.txt:2: unknown label '7'; choose from run, wave"),
        ("list.txt", "a.mp4 wafe\n", r"unknown label 'wafe'; did you mean 'wave'"),
        ("list.txt", "\n", r"lists no videos; write one 'path label' per line"),
        ("list.csv", "file,class\na.mp4,run\n", r"it needs 'path' and 'label'"),
        ("list.csv", "path,label\na.mp4,\n", r"list\.csv:2 has no label"),
        ("list.jsonl", '{"path": "a.mp4"}\n', r"list\.jsonl:1 is not an object with 'path' and 'label'"),
        ("list.jsonl", "{broken\n", r"list\.jsonl:1 is not an object"),
    ],
)
def test_bad_lists(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_manifest(tmp_path / name, ("run", "wave"))
    assert "\n" not in str(error.value)


def test_bad_sources(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data at"):
        read_manifest(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="put each class's videos in a folder named after it"):
        read_manifest(tmp_path / "empty")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="pass a UTF-8 text file"):
        read_manifest(tmp_path / "binary.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("0,run\n2,wave\n", "id '2' where 1 belongs"),
        ("0,run\n1,run\n", "given twice"),
        ("0,\n", "is empty or"),
    ],
)
def test_bad_label_maps(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_label_map(tmp_path / "map.csv")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("brush_hair", "brush hair"),
        ("YoYo", "yo yo"),
        ("TVWatching", "tv watching"),
        ("push-ups", "push ups"),
        ("riding a bike", "riding a bike"),
        ("Basketball2Hoop", "basketball2 hoop"),
    ],
)
def test_names_for_prompts(raw: str, clean: str) -> None:
    assert clean_name(raw) == clean


def test_cleaning_is_on_request_and_keeps_the_raw_form(tmp_path: Path) -> None:
    classes = ("ApplyEyeMakeup", "YoYo")
    assert Data(data=tmp_path).names(classes) == classes
    assert Data(data=tmp_path, clean_names=True).names(classes) == ("apply eye makeup", "yo yo")


def test_split_is_stratified_deterministic_and_complete(tmp_path: Path) -> None:
    manifest = read_manifest(make(tmp_path, {"a": 10, "b": 20}))
    train, val = split(manifest, 0.2, seed=1)
    assert (train.counts(), val.counts()) == ([8, 16], [2, 4])
    assert set(train.clips) | set(val.clips) == set(manifest.clips)
    assert split(manifest, 0.2, seed=1) == (train, val)
    assert split(manifest, 0.2, seed=2)[1] != val


def test_split_keeps_sources_together(tmp_path: Path) -> None:
    touch(*(tmp_path / label / f"{actor}_{i}.mp4" for label in "ab" for actor in "vwxyz" for i in range(3)))
    manifest = read_manifest(tmp_path)
    train, val = split(manifest, 0.25, seed=0, group=r"([a-z])_\d+\.mp4")
    actors = [{c.path.name[0] for c in half.clips} for half in (train, val)]
    assert not actors[0] & actors[1]
    assert len(train) + len(val) == 30


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (None, "split off at random; pass --group if several"),
        (r"([a-z])_\d+\.mp4", "12 clips of 4 sources, such as 'w'; each stays on one side of the split"),
        (r"(.*)_\d+", "12 clips of 8 sources, such as '"),
        (r".*mp4", "warning: --group .*mp4 finds a source of its own for each of the 12 clips, such as '"),
    ],
)
def test_what_a_group_keeps_together_is_said(
    tmp_path: Path, group: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("w_0", "w_1", "x_0", "x_1", "y_0", "z_0")
    touch(*(tmp_path / label / f"{name}.mp4" for label in "ab" for name in names))
    load_data(Data(data=tmp_path, group=group), seed=0)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("(", "not a regular expression"),
        ("nothing", "matches nothing in"),
        (r"\.mp4", "every clip into one group"),
        (r"(clip[12])?\.mp4", r"--group \(clip\[12\]\)\?.* finds no first group in .*clip0\.mp4; it must"),
    ],
)
def test_bad_grouping_patterns(tmp_path: Path, group: str, message: str) -> None:
    manifest = read_manifest(make(tmp_path, {"a": 4, "b": 4}))
    with pytest.raises(DataError, match=message):
        split(manifest, 0.2, seed=0, group=group)


def test_a_class_with_one_clip(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"class 'rare' \(1 clip\) has none left for training; .*add clips"):
        load_data(Data(data=make(tmp_path, {"a": 4, "rare": 1})), seed=0)


def test_a_single_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has one class, 'a'; at least two are needed"):
        load_data(Data(data=make(tmp_path, {"a": 4})), seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_bad_fractions(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(DataError, match="not between 0 and 1"):
        split(read_manifest(make(tmp_path, {"a": 4, "b": 4})), fraction, seed=0)


@pytest.mark.parametrize("names", [("train", "val"), ("training", "test"), ("train.txt", "val.txt")])
def test_data_that_is_already_split(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, count in zip(names, (3, 2)):
        if name.endswith(".txt"):
            make(tmp_path / "files", {f"{name[0]}": 3})
            (tmp_path / name).write_text("".join(f"files/{name[0]}/clip{i}.mp4 {'xy'[i % 2]}\n" for i in range(count)))
        else:
            make(tmp_path / name, {"x": count, "y": count})
    assert find_split(tmp_path) == (tmp_path / names[0], tmp_path / names[1])
    train, val = load_data(Data(data=tmp_path), seed=0)
    assert train.classes == val.classes == ("x", "y")
    assert len(load_test_data(Data(data=tmp_path), ("x", "y"))) == len(val)


def test_duplicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "train", {"a": 3, "b": 3})
    make(tmp_path / "val", {"a": 2, "b": 2})
    same = (tmp_path / "val" / "a" / "clip0.mp4").read_bytes()
    (tmp_path / "train" / "a" / "copy.mp4").write_bytes(same)
    with pytest.raises(
        DataError,
        match=r"copy\.mp4 \(in the training set\) has the same content as .*clip0\.mp4 \(in the validation set\) "
        r"\(1 such pair\); .*--duplicates drop",
    ):
        load_data(Data(data=tmp_path), seed=0)
    train, val = load_data(Data(data=tmp_path, duplicates="drop"), seed=0)
    assert (len(train), len(val)) == (6, 4), "the validation set keeps its one"
    assert "dropped 1 repeated video" in capsys.readouterr().err
    assert len(load_data(Data(data=tmp_path, duplicates="keep"), seed=0)[0]) == 7
    (tmp_path / "train" / "b" / "other.mp4").write_bytes(same)
    with pytest.raises(DataError, match="have the same content but the labels 'b' and 'a'"):
        load_data(Data(data=tmp_path, duplicates="drop"), seed=0)


def test_only_files_of_equal_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(make(tmp_path, {"a": 1, "bb": 1, "ccc": 1}))
    monkeypatch.setattr("stillmotion.files.sha256", lambda path: pytest.fail(f"read {path}"))
    assert find_duplicates([manifest]) == []


def test_empty_files_are_bad_videos_and_no_duplicates(tmp_path: Path) -> None:
    make(tmp_path, {"a": 3, "b": 3})
    for path in (tmp_path / "a" / "empty.mp4", tmp_path / "a" / "nothing.mp4", tmp_path / "b" / "empty.mp4"):
        path.write_bytes(b"")
    train, val = load_data(Data(data=tmp_path), seed=0)
    assert len(train) + len(val) == 9, "they stay, to be counted as bad"


def test_unreadable_files_are_bad_videos_and_no_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"a": 3, "b": 3})
    same = (tmp_path / "a" / "clip0.mp4").read_bytes()
    (tmp_path / "a" / "copy.mp4").write_bytes(same)
    (tmp_path / "a" / "locked.mp4").write_bytes(same)

    def locked(path: Path) -> str:  # a mode of 000 does not lock out root
        if path.name == "locked.mp4":
            raise PermissionError(13, "Permission denied", str(path))
        return sha256(path)

    monkeypatch.setattr("stillmotion.files.sha256", locked)
    pairs = find_duplicates([read_manifest(tmp_path)])
    assert [(a.path.name, b.path.name) for a, b in pairs] == [("clip0.mp4", "copy.mp4")]


def test_paths_that_no_file_can_have_are_no_duplicates(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{'x' * 300}.mp4 run\n{'y' * 300}.mp4 wave\n")
    assert find_duplicates([read_manifest(tmp_path / "list.txt")]) == []


def test_folders_win_over_files_and_only_lists_are_lists(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "a" / "x.mp4", tmp_path / "test" / "a" / "x.mp4")
    for name in ("train.md", "train.zip", "test.txt", "train.csv", "val.py"):
        (tmp_path / name).write_text("about")
    assert find_split(tmp_path) == (tmp_path / "train", tmp_path / "test")
    lists = tmp_path / "lists"
    touch(*(lists / name for name in ("train.tsv", "train.tsv.bak", "train.md", "val", "val.jpg")))
    assert find_split(lists) == (lists / "train.tsv", lists / "val")
    touch(lists / "train.csv", lists / "train.jsonl")
    assert find_split(lists) == (lists / "train.csv", lists / "val"), "the first by name, always"
    (lists / "val").unlink()
    assert find_split(lists) is None


@pytest.mark.parametrize("name", ["pipe.txt", "pipe.csv", "zero.txt"])
def test_lists_without_end_are_not_waited_for(tmp_path: Path, name: str) -> None:
    if name.startswith("zero"):
        (tmp_path / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / name)
    for read in (read_manifest, read_label_map):
        with pytest.raises(DataError, match=r"cannot read .* that may never end\); pass a UTF-8 text file"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.txt", "a\0b.mp4 run\n", r"list\.txt:1: no file can be named 'a\\x00b\.mp4'; mend that line"),
        ("list.jsonl", '{"path": "a\\ud800b.mp4", "label": "run"}\n', r"list\.jsonl:1: no file can be named"),
        ("list.jsonl", '{"path": "a.mp4", "label": "r\\ud800"}\n', r"class name 'r\\ud800' holds characters that are"),
        ("list.jsonl", '{"path": "a.mp4", "label": "r\\u001b[31m"}\n', r"class name 'r\\x1b\[31m' holds characters"),
        ("list.jsonl", '{"path": "a.mp4", "label": ["run"]}\n', r"list\.jsonl:1 is not an object with 'path'"),
        ("list.jsonl", "[" * 100_000 + "\n", r"list\.jsonl:1 is not an object with 'path' and 'label'"),
        ("list.jsonl", '{"path": "a.mp4", "label": ' + "9" * 5000 + "}\n", r"list\.jsonl:1 is not an object"),
        ("list.csv", f"path,label\n{'x' * 200_000},run\n", r"list\.csv is not a CSV file \(field larger than"),
        ("list.csv", "path,label\n\na.mp4\n", r"list\.csv:3 has no label"),
    ],
)
def test_hostile_lists(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_manifest(tmp_path / name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_labels_of_very_many_digits(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"a.mp4 {'9' * 5000}\nb.mp4 7\nc.mp4 run\n")
    assert [len(name) for name in read_manifest(tmp_path / "list.txt").classes] == [1, 5000, 3]
    with pytest.raises(DataError, match=r"unknown label '9{100}'; choose from run, wave"):
        read_manifest(tmp_path / "list.txt", ("run", "wave"))
    (tmp_path / "map.csv").write_text(f"0,{'x' * 200_000}\n")
    with pytest.raises(DataError, match=r"map\.csv is not a CSV file"):
        read_label_map(tmp_path / "map.csv")


def test_very_many_classes(tmp_path: Path) -> None:
    """Half a minute when each name was compared with all before it."""
    (tmp_path / "map.csv").write_text("".join(f"{i},name {i}\n" for i in range(100_000)))
    (tmp_path / "list.txt").write_text("".join(f"{i}.mp4 {i}\n" for i in range(0, 100_000, 100)) + "x.mp4 other\n")
    start = time.process_time()
    names = read_label_map(tmp_path / "map.csv")
    with pytest.raises(DataError, match=r"list\.txt:1001: unknown label 'other'; .* and 99992 more") as error:
        read_manifest(tmp_path / "list.txt", names)
    assert time.process_time() - start < 10
    assert len(str(error.value)) < 500


def test_one_file_in_both_sets(tmp_path: Path) -> None:
    data = make(tmp_path / "clips", {"a": 2, "b": 2})
    with pytest.raises(DataError, match=r"clip0\.mp4 is in the validation set and also in the training set \(4 such"):
        load_data(Data(data=data, val=data), seed=0)
    lines = "".join(f"clips/{label}/clip{i}.mp4 {label}\n" for label in "ab" for i in (0, 1))
    (tmp_path / "val.txt").write_text("clips/a/clip0.mp4 a\nclips/b/clip0.mp4 b\n")
    (tmp_path / "train.txt").write_text(lines)
    both = Data(data=tmp_path / "train.txt", val=tmp_path / "val.txt", duplicates="drop")
    assert [len(half) for half in load_data(both, seed=0)] == [2, 2], "the validation set keeps its ones"
    (tmp_path / "train.txt").write_text("clips/a/clip1.mp4 a\nclips/b/clip1.mp4 b\nclips/b/clip1.mp4 b\n")
    assert [len(half) for half in load_data(both, seed=0)] == [2, 2]
    with pytest.raises(DataError, match=r"clip1\.mp4 is twice in the training set \(1 such pair\)"):
        load_data(replace(both, duplicates="error"), seed=0)
