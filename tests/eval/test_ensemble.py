"""Ensembles average probabilities by path, choose weights on other videos only, and refuse what does not match."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch

from stillmotion.data.bad import BadVideo
from stillmotion.errors import DataError
from stillmotion.eval.ensemble import (
    align,
    average,
    check_separate,
    choose,
    grid,
    mixed,
    normalize,
    predictions_file,
)
from stillmotion.eval.report import Predictions, Report, Scores, read_predictions, write_predictions

CLASSES = ("jump", "run", "sit")


def member(name: str, labels: list[int], seed: int, /, **rest: object) -> Predictions:
    """Random probabilities for videos v0, v1, ..."""
    p = torch.rand(len(labels), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values: dict[str, object] = {
        "name": name,
        "classes": CLASSES,
        "paths": tuple(f"v{i}.mp4" for i in range(len(labels))),
        "indices": torch.arange(len(labels)),
        "labels": torch.tensor(labels),
        "probabilities": p / p.sum(dim=1, keepdim=True),
    }
    return Predictions(**(values | rest))  # type: ignore[arg-type]


def write(path: Path, m: Predictions) -> Path:
    scores = Scores(
        indices=torch.arange(len(m.paths)), labels=m.labels, probabilities=m.probabilities.float(), bad=m.bad
    )
    write_predictions(path, scores, [Path(p) for p in m.paths], m.classes)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    m = member("m", [0, 1, 2], 0, bad=(BadVideo("b.mp4", "b.mp4 is empty"),))
    back = read_predictions(write(tmp_path / "predictions.jsonl", m))
    assert (back.classes, back.paths, back.bad) == (m.classes, m.paths, m.bad)
    assert torch.equal(back.labels, m.labels)
    assert torch.allclose(back.probabilities, m.probabilities, atol=1e-7)


def test_the_average_is_the_formula() -> None:
    a, b = member("a", [0, 1, 2, 1], 1), member("b", [0, 1, 2, 1], 2)
    weights = normalize([3, 1], 2)
    assert weights == (0.75, 0.25)
    p = average([a, b], weights)
    for i, k in product(range(4), range(3)):
        expected = 0.75 * float(a.probabilities[i, k]) + 0.25 * float(b.probabilities[i, k])
        assert float(p[i, k]) == pytest.approx(expected, abs=1e-15)
    right = sum(max(range(3), key=row.__getitem__) == y for row, y in zip(p.tolist(), [0, 1, 2, 1]))
    assert Report.of(mixed(a, p, ()), CLASSES).top1 == pytest.approx(right / 4)


def test_videos_are_matched_by_path_in_any_order() -> None:
    a, b = member("a", [0, 1, 2], 1), member("b", [0, 1, 2], 2)
    order = [2, 0, 1]
    paths = [b.paths[0], str(Path.cwd() / b.paths[1]), b.paths[2]]  # the same file, named from the root
    shuffled = member(
        "b",
        [0, 1, 2],
        2,
        paths=tuple(paths[i] for i in order),
        labels=b.labels[order],
        probabilities=b.probabilities[order],
    )
    aligned, bad = align([a, shuffled])
    assert bad == ()
    assert torch.equal(aligned[1].probabilities, b.probabilities)
    assert aligned[0].paths == a.paths


def test_a_video_bad_for_one_is_left_out_of_all() -> None:
    a = member("a", [0, 1, 2], 1)
    b = member("b", [0, 2], 2, paths=("v0.mp4", "v2.mp4"), bad=(BadVideo("v1.mp4", "v1.mp4 is empty"),))
    aligned, bad = align([a, b])
    assert [m.paths for m in aligned] == [("v0.mp4", "v2.mp4")] * 2
    assert [x.path for x in bad] == ["v1.mp4"]
    numbers = Report.of(mixed(aligned[0], average(aligned, (0.5, 0.5)), bad), CLASSES)
    assert (numbers.videos, numbers.scored) == (3, 2)
    assert "1 of 3 videos could not be read" in str(numbers)
    with pytest.raises(DataError, match="none of the 4 videos could be read for every model"):
        align([a, member("c", [0], 3, paths=("w.mp4",), bad=tuple(BadVideo(p, "empty") for p in (*a.paths, "w.mp4")))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": ("v0.mp4", "v1.mp4", "w.mp4")}, r"v2\.mp4 is scored in a and missing from b \(1 such\); evaluate"),
        ({"classes": ("jump", "ran", "sit")}, r"class 'ran' is in b and not in a \(2 such\); evaluate both"),
        ({"classes": ("run", "jump", "sit")}, r"class 0 is 'jump' in a and 'run' in b; .* order of classes"),
        ({"labels": torch.tensor([0, 2, 2])}, r"v1\.mp4 is 'run' in a and 'sit' in b \(1 such\); evaluate both"),
    ],
)
def test_members_that_do_not_match_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        align([member("a", [0, 1, 2], 1), member("b", [0, 1, 2], 2, **change)])
    assert "\n" not in str(error.value)


def test_a_video_that_only_a_later_member_has() -> None:
    with pytest.raises(DataError, match=r"v2\.mp4 is scored in b and missing from a"):
        align([member("a", [0, 1], 1), member("b", [0, 1, 2], 2)])


def test_a_label_that_disagrees_behind_a_bad_video_is_named() -> None:
    a = member("a", [0, 1, 2], 1, bad=(BadVideo("w.mp4", "empty"),))
    b = member("b", [2, 0, 1, 0], 2, paths=("w.mp4", "v0.mp4", "v1.mp4", "v2.mp4"))
    with pytest.raises(DataError, match=r"v2\.mp4 is 'sit' in a and 'jump' in b"):
        align([a, b])


def test_files_that_hold_no_probabilities(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", member("m", [0, 1], 0))
    good = [json.loads(line) for line in file.read_text().splitlines()]

    def rewrite(i: int, **change: object) -> None:
        lines = [line | (change if i == j else {}) for j, line in enumerate(good)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    for change, message in (
        ({"probabilities": [2.0, 3.0, -1.0]}, r"the scores of v1\.mp4 are no probabilities"),
        ({"probabilities": [float("nan"), 0.5, 0.5]}, "are no probabilities"),
        ({"probabilities": [0.5, 0.5]}, "cannot read predictions"),
        ({"label": 3}, "has 3 classes, its scores or labels another number"),
        ({"path": "v0.mp4"}, r"scores v0\.mp4 twice"),
    ):
        rewrite(1, **change)
        with pytest.raises(DataError, match=message):
            read_predictions(file)
    file.write_text(json.dumps({k: v for k, v in good[0].items() if k != "classes"}) + "\n")
    with pytest.raises(DataError, match="names no classes"):
        read_predictions(file)
    for text in ("{", "[]\n", ""):
        file.write_text(text)
        with pytest.raises(DataError, match=r"p\.jsonl"):
            read_predictions(file)
    with pytest.raises(DataError, match="evaluate again"):
        read_predictions(tmp_path / "none.jsonl")


def test_a_folder_stands_for_its_one_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no predictions\.jsonl or eval_predictions\.jsonl"):
        predictions_file(tmp_path)
    (tmp_path / "predictions.jsonl").touch()
    assert predictions_file(tmp_path) == tmp_path / "predictions.jsonl"
    (tmp_path / "eval_predictions.jsonl").touch()
    with pytest.raises(DataError, match="which are of different data; name the file"):
        predictions_file(tmp_path)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_grid_is_the_whole_simplex(count: int) -> None:
    points = list(grid(count))
    parts = sum(points[0])
    assert set(points) == {p for p in product(range(parts + 1), repeat=count) if sum(p) == parts}
    assert len(points) == len(set(points))
    assert (parts // count,) * count in points, "equal weights are one of them"
    assert parts >= 20


def test_chosen_weights_are_the_best_of_the_grid() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (60,)).tolist()
    members = [member(n, labels, seed) for seed, n in enumerate("abc")]
    weights, top1 = choose(members)

    def right(weights: tuple[float, ...]) -> float:
        return float((average(members, weights).argmax(1) == members[0].labels).double().mean())

    assert top1 == pytest.approx(max(right(normalize(shares, 3)) for shares in grid(3)))
    assert right(weights) == pytest.approx(top1)
    assert right(weights) > right((1 / 3, 1 / 3, 1 / 3)), "the case would not tell"


def test_ties_go_to_equal_weights_then_to_the_earlier_models() -> None:
    same = [member(n, [0, 1, 2, 0], 5) for n in "abc"]
    assert choose(same)[0] == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    # One video is right above 0.588 of the first model, one below 0.412: at equal weights both are wrong.
    a = member("a", [0, 1], 0, probabilities=torch.tensor([[0.71, 0.29, 0], [0.8, 0.2, 0]], dtype=torch.float64))
    b = member("b", [0, 1], 0, probabilities=torch.tensor([[0.2, 0.8, 0], [0.29, 0.71, 0]], dtype=torch.float64))
    assert choose([a, b]) == ((0.6, 0.4), 0.5)
    assert choose([b, a]) == ((0.6, 0.4), 0.5)


def test_weights_that_are_none() -> None:
    for weights, message in (
        ([1.0], "1 weights for 2 models; give one for each"),
        ([1.0, -1.0], "they must be at least 0, and one above 0"),
        ([0.0, 0.0], "one above 0"),
        ([float("nan"), 1.0], "one above 0"),
    ):
        with pytest.raises(DataError, match=message):
            normalize(weights, 2)
    with pytest.raises(DataError, match="weights of 6 models cannot be chosen, of 5 at most"):
        choose([member("m", [0], i) for i in range(6)])


def test_weights_are_never_chosen_on_what_is_scored(tmp_path: Path) -> None:
    scored = [member("test_a.jsonl", [0, 1], 0), member("test_b.jsonl", [0, 1], 1)]
    other = member("val_a.jsonl", [0, 1], 2, paths=("x.mp4", "y.mp4"))
    check_separate(scored, [other])
    with pytest.raises(DataError, match=r"test_b\.jsonl is scored itself"):
        check_separate(scored, [other, member(str(Path("test_b.jsonl").absolute()), [0], 1, paths=("z.mp4",))])
    with pytest.raises(DataError, match=r"v1\.mp4 is in val_b\.jsonl and among the scored videos \(1 such\)"):
        check_separate(scored, [other, member("val_b.jsonl", [0, 1], 1, paths=("x.mp4", "v1.mp4"))])
    with pytest.raises(DataError, match="class 'swim' is in val_c"):
        check_separate(scored, [member("val_c", [0], 1, paths=("x.mp4",), classes=("jump", "run", "sit", "swim"))])
    (tmp_path / "real.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    scored = [member("t", [0], 0, paths=(str(tmp_path / "real.mp4"),))]
    with pytest.raises(DataError, match="among the scored videos"):
        check_separate(scored, [member("v", [0], 0, paths=(str(tmp_path / "link.mp4"),))])
