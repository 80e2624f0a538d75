"""Every published number is whole, in range and consistent; what is wrong in print is marked, and nothing else is."""

import re
from collections import defaultdict
from itertools import combinations

import pytest

from stillmotion.published.read import ACCURACIES, CLASSES, COSTS, SETTINGS, STATUSES, Number, published
from stillmotion.recipes import PUBLISHED
from stillmotion.recipes.published import DATASETS

ROWS = published()


def where(row: Number) -> str:
    return f"{row.source}: {row.method} {row.dataset} {row.metric} {row.value} ({row.variant}, K={row.shots})"


def test_every_row_is_whole() -> None:
    assert len(ROWS) > 700
    for row in ROWS:
        assert row.method and row.backbone and row.source, where(row)
        assert row.setting in SETTINGS and row.status in STATUSES, where(row)
        assert row.gflops_per in (("view", "video") if row.gflops else ("",)), where(row)
        assert re.fullmatch(r"(\d+(x\d+)?)?", row.views), where(row)
        assert row.frames is None or row.frames > 0, where(row)
        assert not row.status or row.note, f"{where(row)}: {row.status} without a note"
        if row.setting == "cost":
            assert row.metric in COSTS and row.value > 0, where(row)
        else:
            assert row.metric in ACCURACIES and 0 <= row.value <= 100, where(row)
            assert row.dataset in CLASSES and row.split, where(row)
        assert (row.metric in ("base", "novel", "HM")) == (row.setting == "base-to-novel"), where(row)
        if row.setting == "few-shot":
            assert row.shots is not None, where(row)


def test_one_spelling_for_each_name() -> None:
    for field in ("method", "backbone", "dataset", "source", "variant"):
        spellings = defaultdict(set)
        for row in ROWS:
            text = getattr(row, field)
            assert text == text.strip() and "  " not in text
            spellings[re.sub(r"[^0-9a-z+]", "", text.lower())].add(text)
        assert not [found for found in spellings.values() if len(found) > 1]
    assert set(DATASETS.values()) <= set(CLASSES)


def key(row: Number) -> tuple[object, ...]:
    return row.method, row.backbone, row.setting, row.dataset, row.shots, row.pretrained, row.source, row.variant


def test_harmonic_means_are_those_of_their_parts() -> None:
    """Within what rounding to a tenth allows, or marked; and only what is wrong is marked."""
    groups: dict[tuple[object, ...], dict[str, Number]] = defaultdict(dict)
    for row in ROWS:
        if row.setting == "base-to-novel":
            assert row.metric not in groups[key(row)], where(row)
            groups[key(row)][row.metric] = row
    assert len(groups) > 50
    for group in groups.values():
        base, novel, mean = (group[name] for name in ("base", "novel", "HM"))
        ends = [2 * b * n / (b + n) for b, n in ((base.value + d, novel.value + d) for d in (-0.05, 0.05))]
        right = ends[0] - 0.05 - 1e-9 <= mean.value <= ends[1] + 0.05 + 1e-9
        assert right == (mean.status != "erratum"), where(mean)


def test_top5_is_at_least_top1() -> None:
    both: dict[tuple[object, ...], dict[str, float]] = defaultdict(dict)
    for row in ROWS:
        both[(*key(row), row.frames, row.views, row.split)][row.metric] = row.value
    pairs = [found for found in both.values() if {"top-1", "top-5"} <= set(found)]
    assert len(pairs) > 40
    assert all(found["top-1"] <= found["top-5"] for found in pairs)


def test_gflops_of_more_frames_are_multiples() -> None:
    """EVL's printed costs for 16 and 32 frames are those of 8, times two and four, within one part in 400."""
    costs = {(r.backbone, r.frames): r.gflops for r in ROWS if r.source == "EVL, table 1" and r.gflops}
    for (backbone, frames), gflops in costs.items():
        eight = costs.get((backbone, 8))
        if eight and frames:
            assert gflops == pytest.approx(eight * frames / 8, rel=1 / 400)
    wrong = [r for r in ROWS if r.backbone == "CLIP L/14@336" and r.gflops == 18196]
    assert wrong[0].gflops == pytest.approx(costs["CLIP L/14", 32] * (336 / 224) ** 2, rel=1e-3)
    assert {r.status for r in wrong} == {"erratum"}


def test_what_disagrees_is_marked() -> None:
    """The same thing with two numbers is marked: one is a re-run or wrong, or both are in conflict."""
    groups = defaultdict(list)
    for row in ROWS:
        same = (row.method, row.backbone, row.setting, row.dataset, row.split, row.shots, row.pretrained)
        groups[(*same, row.variant, row.metric)].append(row)
    found = 0
    for rows in groups.values():
        for a, b in combinations(rows, 2):
            apart = any(
                x not in (None, "") and y not in (None, "") and x != y
                for x, y in ((a.frames, b.frames), (a.views, b.views))
            )
            if not apart and abs(a.value - b.value) > 0.051:  # one may be the other, rounded
                found += 1
                again = {a.status, b.status} & {"re-run", "erratum", "unverified"}
                assert again or a.status == b.status == "conflict", f"{where(a)}\n{where(b)}"
    assert found > 5


def test_the_wrong_row_of_x_clip_is_named_with_the_right_one() -> None:
    few = [r for r in ROWS if (r.method, r.dataset, r.setting, r.pretrained) == ("X-CLIP", "UCF-101", "few-shot", "")]
    printed = {(r.source, r.shots): r for r in few if not r.variant}
    for shots, value, wrong in ((2, 76.4, 48.5), (4, 83.4, 75.6), (8, 88.3, 83.7)):
        assert printed["X-CLIP, table 5", shots].value == value
        error = printed["ViFi-CLIP, table 3", shots]
        assert (error.value, error.status) == (wrong, "erratum")
        assert f"{value}" in error.note
        other = [r.value for r in ROWS if r.method == "TimeSformer" and r.shots == shots and r.setting == "few-shot"]
        assert other == [wrong]


def test_recipes_and_data_agree() -> None:
    """Each number that a recipe names stands in the data, for the same data set and metric."""
    values = {(r.dataset, r.metric, r.value) for r in ROWS}
    names = [(n.dataset, n.metric, n.value) for maker in PUBLISHED for n in maker().published]
    assert len(names) > 100
    assert set(names) <= values


def test_what_is_not_trained_has_no_shots() -> None:
    for row in published():
        assert ("0 clips a class" in row.note) <= (row.shots == 0), where(row)
