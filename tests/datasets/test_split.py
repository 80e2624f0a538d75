"""Splits by a seed: counts by hand, no source on two sides, the same whatever the order of the input."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from stillmotion.cli import main
from stillmotion.data.entries import Entry, Header, Listing, read_listing
from stillmotion.datasets import base_novel, few_shot, fractions, open_source
from stillmotion.errors import DataError
from tests.datasets import layouts


def listing(counts: dict[str, int], splits: tuple[str, ...] = ("train", "test"), sources: int = 0) -> Listing:
    """So many clips of each class in each split; of so many sources."""
    entries = tuple(
        Entry(f"{label}/{split}{i}.mp4", label, split or None, source=f"s{i % sources}" if sources else None)
        for label, n in counts.items()
        for split in splits
        for i in range(n if split in ("train", "") else 2)
    )
    names = tuple(counts)
    return Listing(Header(classes=names, prompts=tuple(n.lower() for n in names)), entries, Path("videos"))


def shuffled(made: Listing) -> Listing:
    entries = list(made.entries)
    random.Random(7).shuffle(entries)
    return replace(made, entries=tuple(entries), root=Path("elsewhere"))


def train(made: Listing) -> set[str]:
    return {e.path for e in made.entries if e.split == "train"}


def test_few_shot() -> None:
    whole = listing({"a": 20, "b": 9})
    drawn = {k: few_shot(whole, k, seed=3) for k in (2, 4, 8)}
    for k, made in drawn.items():
        assert Counter((e.label, e.split) for e in made.entries) == {
            ("a", "train"): k, ("b", "train"): k, ("a", "test"): 2, ("b", "test"): 2}  # fmt: skip
        assert few_shot(shuffled(whole), k, seed=3).entries == made.entries
        assert train(few_shot(whole, k, seed=4)) != train(made)
    assert not train(drawn[2]) <= train(drawn[4]), "draws of their own, as published"
    nested = [train(few_shot(whole, k, seed=3, nested=True)) for k in (1, 2, 4, 8)]
    assert nested[0] < nested[1] < nested[2] < nested[3]
    assert drawn[2].header.made == ("few_shot --shots 2 --seed 3",)
    with pytest.raises(DataError, match=r"class 'b' has 9 training clips, fewer than 10 shots"):
        few_shot(whole, 10)
    with pytest.raises(DataError, match=r"no clip is in split 'train'"):
        few_shot(listing({"a": 3, "b": 3}, ("",)), 1)


def test_draws_are_uniform() -> None:
    """Each of 10 clips is drawn in 3 of 10 seeds, on average."""
    whole = listing({"a": 10, "b": 10})
    counts = Counter(path for seed in range(1000) for path in train(few_shot(whole, 3, seed=seed)))
    assert len(counts) == 20 and all(240 < n < 360 for n in counts.values())


def test_base_and_novel() -> None:
    made = listing({"a": 5, "b": 9, "c": 5, "d": 2, "e": 5})
    base, novel = base_novel(made)
    assert base.header.classes == ("b", "c", "e") and novel.header.classes == ("a", "d"), "of equal ones the later"
    assert Counter(e.split for e in base.entries) == {"train": 19, "test": 6}
    assert Counter(e.split for e in novel.entries) == {"test": 4}, "nothing is trained on novel classes"
    assert (base.header.prompts, novel.header.made) == (("b", "c", "e"), ("novel",))
    again = base_novel(shuffled(made))
    assert [half.entries for half in again] == [base.entries, novel.entries]
    hmdb = base_novel(listing({f"class{i:02d}": 70 for i in range(51)}))
    assert [half.header.classes for half in hmdb] == [
        tuple(f"class{i:02d}" for i in range(25, 51)), tuple(f"class{i:02d}" for i in range(25))]  # fmt: skip


def test_halves_of_no_split_are_refused() -> None:
    made = listing({"a": 5, "b": 9, "c": 5})
    whole = replace(made, entries=tuple(replace(e, split=None) for e in made.entries))
    with pytest.raises(
        DataError, match="no clip is in split 'train', whose counts halve the classes; pass --fractions"
    ):
        base_novel(whole)


def test_published_halves(tmp_path: Path) -> None:
    made = listing({"a": 3, "b": 3, "c": 3})
    (tmp_path / "base_val.txt").write_text("c/test0.mp4 0\nb/test1.mp4 1\n")
    (tmp_path / "novel.txt").write_text("id,name\n0,A\n")
    base, novel = base_novel(made, base=[tmp_path / "base_val.txt"], novel=[tmp_path / "novel.txt"])
    assert (base.header.classes, novel.header.classes) == (("b", "c"), ("a",))
    for text, message in (("a\nb\n", "class 'b' is in the base and in the novel lists"),
                          ("x/none.mp4 0\n", "none of the 1 clips of .*novel.txt is in the manifest")):  # fmt: skip
        (tmp_path / "novel.txt").write_text(text)
        with pytest.raises(DataError, match=message):
            base_novel(made, base=[tmp_path / "base_val.txt"], novel=[tmp_path / "novel.txt"])
    (tmp_path / "novel.txt").write_text("a\n")
    (tmp_path / "base_val.txt").write_text("b\n")
    with pytest.raises(DataError, match="class 'c' is in no list of either half"):
        base_novel(made, base=[tmp_path / "base_val.txt"], novel=[tmp_path / "novel.txt"])
    with pytest.raises(DataError, match="one half alone"):
        base_novel(made, base=[tmp_path / "base_val.txt"])


def test_a_half_with_an_empty_class_is_refused() -> None:
    made = listing({"a": 3, "b": 4})
    without = replace(made, entries=tuple(e for e in made.entries if (e.label, e.split) != ("a", "test")))
    with pytest.raises(DataError, match="class 'a' has no clip"):
        base_novel(without)


@pytest.mark.parametrize("seed", range(5))
def test_fractions(seed: int) -> None:
    whole = listing({"a": 100, "b": 40, "c": 10}, ("",))
    made = fractions(whole, seed=seed)
    assert Counter((e.label, e.split) for e in made.entries) == {
        ("a", "train"): 80, ("a", "val"): 10, ("a", "test"): 10, ("b", "train"): 32, ("b", "val"): 4, ("b", "test"): 4,
        ("c", "train"): 8, ("c", "val"): 1, ("c", "test"): 1}  # fmt: skip
    assert fractions(shuffled(whole), seed=seed).entries == made.entries
    assert train(fractions(whole, seed=seed + 1)) != train(made)
    assert {e.split for e in fractions(whole, (0.5, 0.5)).entries} == {"train", "val"}


@pytest.mark.parametrize("sources", [3, 4, 9, 25])
def test_no_source_is_on_two_sides(sources: int) -> None:
    whole = listing({"a": 50, "b": 50, "c": 27}, ("",), sources)
    made = fractions(whole, seed=1)
    sides = {(e.source, e.split) for e in made.entries}
    assert len(sides) == sources, "each source in one part"
    assert {s for _, s in sides} == {"train", "val", "test"}
    assert fractions(shuffled(whole), seed=1).entries == made.entries
    renamed = replace(whole, entries=tuple(replace(e, path=f"{e.source}_{e.path}", source=None) for e in whole.entries))
    by_path = fractions(renamed, seed=1, group=r"^(s\d+)_")
    assert len({(e.source, e.split) for e in by_path.entries}) == sources


def test_fractions_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"no (test|val) set has a clip of every class: those of 'a' come from \d"):
        fractions(listing({"a": 4, "b": 40}, ("",), 2))
    for parts in ((0.8, 0.1), (0.5, 0.6, -0.1), (0.0, 0.5, 0.5), (1.0,), (float("nan"), 0.1, 0.1)):
        with pytest.raises(DataError, match="do not split; pass three that sum to 1"):
            fractions(listing({"a": 9, "b": 9}, ("",)), parts)
    half = listing({"a": 9, "b": 9}, ("",), 3)
    half = replace(half, entries=(replace(half.entries[0], source=None), *half.entries[1:]))
    with pytest.raises(DataError, match=r"a/0.mp4 has no source, and others have \(1 such clips\); pass --group"):
        fractions(half)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, label in enumerate(("sit", "stand", "wave")):
        for i in range(6 + k):
            layouts.clip(tmp_path / "videos" / label / f"actor{i % 5}_{i}.mp4", 100 * k + i)
    out = tmp_path / "lists" / "m.jsonl"
    words = ["data", "split", str(tmp_path / "videos"), "-o", str(out), "--fractions", ".6", ".2", ".2", "--group",
             r"/(actor\d)_", "--base-novel", "--shots", "2", "--seed", "5"]  # fmt: skip
    main(words)
    base, novel = (read_listing(out.with_name(f"m.{half}.jsonl")) for half in ("base", "novel"))
    assert capsys.readouterr().out.count("train") == 1
    assert base.header.classes == ("stand", "wave") and novel.header.classes == ("sit",)
    assert Counter(e.label for e in base.entries if e.split == "train") == {"stand": 2, "wave": 2}
    assert base.header.made[0].startswith(r"fractions 0.6 0.2 0.2 --seed 5 --group '/(actor\d)_'")
    assert (base.root / base.entries[0].path).is_file()
    with pytest.raises(SystemExit) as stop:
        main([*words[:5], "--shots", "2"])
    assert stop.value.code == 2 and not out.exists()
    for wrong in (["--nested"], ["--group", "x", "--shots", "1"], []):
        with pytest.raises(SystemExit):
            main([*words[:5], *wrong])
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_list_file_is_a_manifest_too(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("a/x.mp4 SitDown\nb/y.mp4 wave\n")
    made = open_source(tmp_path / "l.txt")
    assert made.header.prompts == ("sit down", "wave")
    assert [(e.path, e.label) for e in made.entries] == [("a/x.mp4", "SitDown"), ("b/y.mp4", "wave")]
    (tmp_path / "l.txt").write_text("../x.mp4 SitDown\n")
    with pytest.raises(DataError, match="outside the root"):
        open_source(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_text("x.mp4 SitDown\nx.mp4 SitDown\n")
    with pytest.raises(DataError, match="stands for two clips"):
        open_source(tmp_path / "l.txt")
