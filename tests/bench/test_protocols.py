"""Every protocol on small real files: who trains on what, and numbers that follow by hand from the predictions."""

import json
import statistics
from pathlib import Path

import pytest
import torch

import stillmotion
from stillmotion.bench.cells import Cell
from stillmotion.bench.table import cannot, harmonic_mean, row, summary
from stillmotion.data.set_names import set_of
from stillmotion.eval.report import Report, Scores
from stillmotion.eval.views import average_views
from tests.bench.small import CLASSES, bench, cell, check_row, names, right, split, table

TESTS = {f"{label}_val{i}.mp4" for label in CLASSES for i in range(2)}


def test_few_shot(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    bench("few-shot", "linear_probe", "zero_shot", "--data", clips, "--backbone", tiny_clip, "--epochs", 2,
          "--shots", 1, 2, "--seeds", 0, 1, "--out", tmp_path)  # fmt: skip
    found = table(tmp_path)
    assert (found["protocol"], len(found["rows"]), len(found["summary"])) == ("few-shot", 8, 4)
    drawn = {}
    for K in (1, 2):
        for seed in (0, 1):
            few = split(tmp_path, f"{K}-shots_seed-{seed}")
            drawn[K, seed] = names(few, "train")
            labels = [e.label for e in few.entries if e.split == "train"]
            assert {label: labels.count(label) for label in CLASSES} == dict.fromkeys(CLASSES, K)
            assert names(few, "test") == TESTS and len(few.entries) == 4 * K + 8
            for method in ("linear_probe", "zero_shot"):
                line, config, predictions = cell(tmp_path, f"{method}_{K}-shots_seed-{seed}")
                check_row(line, predictions)
                assert {Path(p).name for p in predictions.paths} == TESTS
                assert line["cell"] == {"shots": K, "seed": seed, "split": None, "part": None}
                assert line in found["rows"]
                assert config["recipe"]["train"]["seed"] == seed
    assert drawn[2, 0] != drawn[2, 1] and drawn[1, 0] != drawn[1, 1], "a seed is a draw of clips"
    for line in found["summary"]:
        values = [r["top1"] for r in found["rows"]
                  if r["method"] == line["method"] and r["cell"]["shots"] == line["shots"]]  # fmt: skip
        assert len(values) == line["rows"] == 2
        assert line["top1"] == pytest.approx(sum(values) / 2)
        assert line["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5), "of a sample of two"
    models = list(tmp_path.rglob("model.safetensors"))
    assert not models, "no model is kept unless asked for"


def test_nested_shots_are_among_more(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    bench("few-shot", "zero_shot", "--data", clips, "--backbone", tiny_clip, "--shots", 1, 2, 3, "--nested",
          "--out", tmp_path)  # fmt: skip
    one, two, three = (names(split(tmp_path, f"{K}-shots_seed-0"), "train") for K in (1, 2, 3))
    assert one < two < three
    tops = [r["top1"] for r in table(tmp_path)["rows"]]
    assert len(set(tops)) == 1, "what is not trained has one number"


def test_base_to_novel(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    bench("base-to-novel", "linear_probe", "vificlip", "--data", clips, "--backbone", tiny_clip, "--epochs", 2,
          "--warmup", 0, "--shots", 2, "--seeds", 0, 1, "--out", tmp_path)  # fmt: skip
    halves = {"base": ("run", "walk"), "novel": ("JumpUp", "sit_down")}  # 4 clips to train against 3
    found, tops = table(tmp_path), dict[str, list[float]]()
    for part, classes in halves.items():
        for seed in (0, 1):
            clips_of = split(tmp_path, f"2-shots_seed-{seed}_{part}")
            assert clips_of.header.classes == classes
            assert {e.label for e in clips_of.entries} == set(classes)
            assert len(names(clips_of, "train")) == (4 if part == "base" else 0)
            line, _, predictions = cell(tmp_path, f"vificlip_2-shots_seed-{seed}_{part}")
            assert predictions.classes == classes, "within their own label set"
            check_row(line, predictions)
            tops.setdefault(part, []).append(line["top1"])
    lines = {(s["method"], s["part"]): s for s in found["summary"]}
    b, n = (sum(tops[part]) / 2 for part in ("base", "novel"))
    assert lines["vificlip", "base"]["top1"] == pytest.approx(b)
    assert lines["vificlip", "harmonic mean"]["top1"] == pytest.approx(2 * b * n / (b + n) if b + n else 0)
    novel = [r for r in found["rows"] if r["method"] == "linear_probe" and r["cell"]["part"] == "novel"]
    assert len(novel) == 2 and all(r["top1"] is None and "no others" in r["note"] for r in novel)
    assert lines["linear_probe", "novel"]["top1"] is lines["linear_probe", "harmonic mean"]["top1"] is None
    assert lines["linear_probe", "base"]["top1"] is not None


@pytest.mark.parametrize("average", ["softmax", "logits"])
def test_supervised_views(average: str, clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """3x3 views of a model that was kept, averaged here."""
    bench("supervised", "attentive_probe", "--data", clips, "--backbone", tiny_clip, "--epochs", 2, "--warmup", 0,
          "--views", 3, "--crops", 3, "--average", average, "--keep-models", "--out", tmp_path)  # fmt: skip
    line, config, predictions = cell(tmp_path, "attentive_probe_seed-0")
    check_row(line, predictions)
    assert config["recipe"]["sampling"] | {"views": 3, "crops": 3, "average": average} == config["recipe"]["sampling"]
    classifier = stillmotion.load(tmp_path / "cells" / "attentive_probe_seed-0" / "model.safetensors")
    for path, p in zip(predictions.paths, predictions.probabilities):
        views = classifier.read(path)
        assert len(views) == 9
        with torch.inference_mode():
            expected = average_views(classifier.model.classify(views, None), average)
        assert p.tolist() == pytest.approx(expected.tolist(), abs=5e-3)


def lists(clips: Path, folder: Path) -> Path:
    """A manifest of three official splits: split s tests the val clips of number s % 2 (of JumpUp: both in each)."""
    folder.mkdir()
    lines = [json.dumps({"stillmotion": "manifest/1", "dataset": "ucf101", "root": clips.as_posix(),
                         "classes": list(CLASSES), "prompts": list(CLASSES), "made": []})]  # fmt: skip
    for path in sorted(clips.rglob("*.mp4")):
        number = int(path.stem[-1]) if path.parts[-3] == "val" else None
        splits = {str(s): "test" if number is not None and number == s % 2 else "train" for s in (1, 2, 3)}
        lines.append(json.dumps({"path": path.relative_to(clips).as_posix(), "label": path.parent.name,
                                 "splits": splits}))  # fmt: skip
    (folder / "ucf101.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "ucf101.jsonl"


def test_zero_shot_over_three_splits(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    manifest = lists(clips, tmp_path / "lists")
    out = tmp_path / "out"
    bench("zero-shot", "zero_shot", "--data", manifest, "--split", 1, 2, 3, "--backbone", tiny_clip, "--out", out)
    tops = []
    for s in (1, 2, 3):
        line, _, predictions = cell(out, f"zero_shot_seed-0_ucf101.{s}")
        check_row(line, predictions)
        assert {Path(p).name for p in predictions.paths} == {f"{c}_val{s % 2}.mp4" for c in CLASSES}
        tops.append(line["top1"])
    (line,) = table(out)["summary"]
    assert (line["set"], line["rows"]) == ("ucf101", 3)
    assert line["top1"] == pytest.approx(sum(tops) / 3)
    assert line["std"] == pytest.approx(statistics.stdev(tops))
    assert tops[0] == tops[2], "the same clips"


def test_draws_of_classes(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """The same probabilities as among all classes, renormalized."""
    words = ("zero-shot", "zero_shot", "--data", clips, "--backbone", tiny_clip)
    bench(*words, "--out", tmp_path / "all")
    bench(*words, "--draws", 3, "--draw-classes", 2, "--out", tmp_path / "draws")
    _, _, whole = cell(tmp_path / "all", f"zero_shot_seed-0_{clips.name}")
    every = {Path(path).name: p for path, p in zip(whole.paths, whole.probabilities)}
    kept = set()
    for number in (1, 2, 3):
        line, _, predictions = cell(tmp_path / "draws", f"zero_shot_seed-0_{clips.name}.draw{number}")
        check_row(line, predictions)
        assert len(predictions.classes) == 2 and len(predictions.paths) == 4
        kept.add(predictions.classes)
        places = [whole.classes.index(name) for name in predictions.classes]
        for path, p in zip(predictions.paths, predictions.probabilities):
            few = every[Path(path).name][places]
            assert p.tolist() == pytest.approx((few / few.sum()).tolist(), abs=1e-4)
    assert len(kept) > 1, "draws differ"
    (line,) = table(tmp_path / "draws")["summary"]
    assert (line["set"], line["rows"]) == (clips.name, 3)


def test_trained_on_one_set_and_tested_on_another(clips: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """A tuned model among the other set's names; a head for its own classes has nothing to say, and is not trained."""
    lines = {
        part: [f"{p.relative_to(clips)} {p.parent.name}" for p in sorted((clips / part).rglob("*.mp4"))]
        for part in ("train", "val")
    }
    train = [line for line in lines["train"] if line.endswith(("run", "walk"))]
    (tmp_path / "mine.txt").write_text("\n".join(train), encoding="utf-8")
    other = [line for line in lines["val"] if line.endswith(("JumpUp", "sit_down"))]
    (tmp_path / "other.txt").write_text("\n".join(other), encoding="utf-8")
    out = tmp_path / "out"
    bench("zero-shot", "vificlip", "linear_probe", "zero_shot", "--train", tmp_path / "mine.txt", "--root", clips,
          "--data", tmp_path / "other.txt", "--backbone", tiny_clip, "--epochs", 3, "--warmup", 0, "--lr", 1e-3,
          "--out", out)  # fmt: skip
    rows = {r["method"]: r for r in table(out)["rows"]}
    tuned, plain = (cell(out, f"{method}_seed-0_other") for method in ("vificlip", "zero_shot"))
    for line, _, predictions in (tuned, plain):
        check_row(line, predictions)
        assert predictions.classes == ("JumpUp", "sit_down") and len(right(predictions)) == 4
    assert (tuned[2].probabilities - plain[2].probabilities).abs().max() > 1e-4, "it was trained"
    assert rows["linear_probe"]["top1"] is None and "no others" in rows["linear_probe"]["note"]
    assert [p.name for p in (out / "cells" / "linear_probe_seed-0_other").iterdir()] == ["cell.json"]


def test_by_hand() -> None:
    assert harmonic_mean(0.75, 0.25) == pytest.approx(0.375)
    assert harmonic_mean(0.0, 0.0) == 0 and harmonic_mean(0.5, None) is None

    def scored(hits: int, **parts: object) -> dict[str, object]:
        called = torch.tensor([0] * hits + [1] * (4 - hits))
        scores = Scores(indices=torch.arange(4), labels=torch.zeros(4, dtype=torch.int64),
                        probabilities=torch.nn.functional.one_hot(called, 2).double())  # fmt: skip
        return row(Cell(method="m", **parts), Report.of(scores, ("a", "b")), (0.0, 1.0), 1.0, 2.0)  # type: ignore[arg-type]

    rows = [scored(hits, seed=seed, part=part) for part, all_hits in (("base", (4, 2)), ("novel", (1, 1)))
            for seed, hits in enumerate(all_hits)]  # fmt: skip
    found = {line["part"]: line for line in summary(rows)}
    assert (found["base"]["top1"], found["novel"]["top1"]) == (0.75, 0.25)
    assert found["base"]["std"] == pytest.approx(0.125**0.5) and found["novel"]["std"] == 0
    # Of the averages: the mean of each seed's harmonic mean would be (0.4 + 1/3) / 2.
    assert found["harmonic mean"]["top1"] == pytest.approx(0.375)
    sets = [scored(1, split="ucf101.1"), scored(3, split="ucf101.2"), scored(4, split="hmdb51"),
            cannot(Cell(method="m", split="kinetics400"), "why")]  # fmt: skip
    lines = {line["set"]: (line["top1"], line["rows"]) for line in summary(sets)}
    assert lines == {"ucf101": (0.5, 2), "hmdb51": (1.0, 1), "kinetics400": (None, 1)}


@pytest.mark.parametrize(
    ("split", "name"),
    [
        ("ucf101", "ucf101"), ("ucf101.2", "ucf101"), ("k600.draw13", "k600"), ("hmdb51_1", "hmdb51"), ("1", "1"),
        ("x_test2", "x_test"), ("testlist03", "testlist"), ("hmdb51", "hmdb51"), ("clips2", "clips2"), (None, None),
    ],
)  # fmt: skip
def test_sets_of_splits(split: str | None, name: str | None) -> None:
    assert set_of(split) == name
