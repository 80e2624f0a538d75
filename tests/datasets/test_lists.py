"""Split lists of other projects: every form gives the same manifest, and what fits two forms is refused."""

from pathlib import Path

import pytest

from stillmotion.cli import main
from stillmotion.datasets import prepare
from stillmotion.datasets.base import Tree
from stillmotion.datasets.lists import read_list, split_lists
from stillmotion.errors import DataError
from tests.datasets import layouts

FORMS = {
    "vifi": "Archery/v_Archery_g01_c01.avi 1\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 0\n",
    "comma": "Archery/v_Archery_g01_c01.avi,1\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi,0\n",
    "header": "path,label\nArchery/v_Archery_g01_c01.avi,1\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi,0\n",
    "names": "Archery/v_Archery_g01_c01.avi,archery\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi,Apply Eye Makeup\n",
    "frames": "Archery/v_Archery_g01_c01 164 1\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01 121 0\n",
    "frames of files": "Archery/v_Archery_g01_c01.avi 164 1\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 121 0\n",
    "a5": "Archery/v_Archery_g01_c01\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01\n",
    "absolute": "ROOT/UCF-101/Archery/v_Archery_g01_c01.avi 1\nROOT/UCF-101/ApplyEyeMakeup/"
    "v_ApplyEyeMakeup_g01_c01.avi 0\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(tmp_path: Path, form: str) -> None:
    root = layouts.ucf101(tmp_path / "data")
    train, val = tmp_path / "train1_few_shot_2.txt", tmp_path / "val1.txt"
    train.write_text(FORMS[form].replace("ROOT", str(root)))
    val.write_text("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 0\n")
    found = prepare("ucf101", root, lists=[train, val], annotations=root / "ucfTrainTestlist")
    assert [(Path(e.path).stem, e.label, e.split, e.source) for e in found.listing.entries] == [
        ("v_ApplyEyeMakeup_g01_c01", "ApplyEyeMakeup", "train", "ApplyEyeMakeup_g01"),
        ("v_ApplyEyeMakeup_g08_c01", "ApplyEyeMakeup", "val", "ApplyEyeMakeup_g08"),
        ("v_Archery_g01_c01", "Archery", "train", "Archery_g01"),
    ]
    assert found.listing.entries[1].splits == {"1": "test", "2": "train"}
    assert found.listing.header.classes == layouts.UCF


def test_classes_from_the_lists_alone(tmp_path: Path) -> None:
    root = layouts.ucf101(tmp_path / "data")
    (tmp_path / "train.txt").write_text(FORMS["vifi"])
    assert prepare("ucf101", root, lists=[tmp_path / "train.txt"]).listing.header.classes == (
        "ApplyEyeMakeup",
        "Archery",
    )
    (tmp_path / "map.csv").write_text("id,name\n0,Shooting arrows\n1,Make up\n")
    (tmp_path / "flat.txt").write_text("v_Archery_g01_c01.avi 0\nv_ApplyEyeMakeup_g01_c01.avi 1\n")
    with pytest.raises(DataError, match="folders do not name them; pass a label map"):
        prepare("ucf101", root, lists=[f"train={tmp_path / 'flat.txt'}"])


def test_a_label_map_names_the_numbers(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    for i in range(3):
        layouts.clip(root / f"{i} of 3.mp4", i)
    (tmp_path / "map.csv").write_text("id,name\n0,wave\n1,sit_down\n")
    (tmp_path / "x.txt").write_text("0 of 3.mp4 1\n1 of 3.mp4 0\n")
    found = prepare("folder", root, lists=[f"test={tmp_path / 'x.txt'}"], labels=tmp_path / "map.csv")
    assert [(e.path, e.label, e.split) for e in found.listing.entries] == [
        ("0 of 3.mp4", "sit_down", "test"),
        ("1 of 3.mp4", "wave", "test"),
    ]
    assert found.listing.header.prompts == ("wave", "sit down")


def test_two_numbers_are_told_apart_by_the_files(tmp_path: Path) -> None:
    """`x 5 1` is clip `x` of 5 frames, or clip `x 5`."""
    for name in ("x.mp4", "y.mp4"):
        layouts.clip(tmp_path / "a" / name, 1)
    for name in ("x 5.mp4", "y 6.mp4"):
        layouts.clip(tmp_path / "b" / name, 1)
    path = tmp_path / "train.txt"
    path.write_text("x 5 1\ny 6 0\n")
    assert [line.path for line in read_list(path, Tree.of(tmp_path / "a"))] == ["x", "y"]
    assert [line.path for line in read_list(path, Tree.of(tmp_path / "b"))] == ["x 5", "y 6"]
    for root in (tmp_path, tmp_path / "a" / "none"):
        root.mkdir(exist_ok=True)
        with pytest.raises(DataError, match=r"can be read as `path label, by space` and as `path frames label, by sp"):
            read_list(path, Tree.of(root))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("../secret/v.avi 0\n", r"train.txt:1: '../secret/v.avi' points outside the root"),
        ("/etc/v.avi 0\n", r"points outside the root; paths start from --root"),
        ("C:\\clips\\v.avi 0\n", r"points outside the root"),
        ("Archery/v_Archery_g01_c01.avi 7\nArchery/a.avi 0\n", r"labels go from 0 to 7, and 1 is not among them"),
        ("Archery/v_Archery_g01_c01.avi 1\nYoYo/a.avi 2\n", r"labels go from 1 to 2, and 0 is not among them"),
        ("Archery/v_Archery_g01_c01.avi 1\nArchery/b.avi 0\n", r"folders do not name them"),
        ("Archery/v_Archery_g01_c01.avi one\nword\n", r"train.txt:1: no form fits"),
        ("", r"lists no videos"),
        ("Archery/v_Archery_g01_c01.avi,Archery\nArchery/v_Archery_g01_c01.avi,YoYo\n",
         r"listed as 'Archery' in train and as 'YoYo' in train"),
    ],
)  # fmt: skip
def test_bad_lists_are_one_line(tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = layouts.ucf101(tmp_path / "data")
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        prepare("ucf101", root, lists=[path])
    with pytest.raises(SystemExit) as stop:
        out = tmp_path / "out" / "m.jsonl"
        main(["data", "prepare", "ucf101", "--root", str(root), "-o", str(out), "--lists", str(path)])
    assert stop.value.code == 2 and not out.parent.exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_numbers_in_another_order_than_the_official_one(tmp_path: Path) -> None:
    root = layouts.ucf101(tmp_path / "data")
    (tmp_path / "train.txt").write_text("Archery/v_Archery_g01_c01.avi 0\n")
    with pytest.raises(DataError, match=r"label 0 is 'ApplyEyeMakeup' in the official order, .* lies in 'Archery'"):
        prepare("ucf101", root, lists=[tmp_path / "train.txt"], annotations=root)
    (tmp_path / "train.txt").write_text("Archery/v_Archery_g01_c01.avi 101\n")
    with pytest.raises(DataError, match=r"label 101 of 101 classes; labels are 0 to 100"):
        prepare("ucf101", root, lists=[tmp_path / "train.txt"], annotations=root)


def test_names_of_lists_say_the_split() -> None:
    assert split_lists(["a/train1.txt", "test=b/fs_base_s1.txt"]) == [
        ("train", Path("a/train1.txt")),
        ("test", Path("b/fs_base_s1.txt")),
    ]
    for name in ("ZS_split1.txt", "train_test.txt"):
        with pytest.raises(DataError, match=f"{name} does not say its split; write train={name}"):
            split_lists([name])


def test_sources_of_kinetics_without_an_ending(tmp_path: Path) -> None:
    """A5's lines: the folder is the class, and the clip has no ending."""
    root = layouts.k400(tmp_path / "k400")
    (tmp_path / "val.txt").write_text("air drumming/-E4_ab=defg_000005_000015\nabseiling/valvalval00\n")
    found = prepare("k400", root, lists=[tmp_path / "val.txt"])
    assert [(e.label, e.split, e.source) for e in found.listing.entries] == [
        ("air drumming", "val", "-E4_ab=defg"),
        ("abseiling", "val", "valvalval00"),
    ]
    assert found.listing.header.prompts == ("abseiling", "air drumming")
