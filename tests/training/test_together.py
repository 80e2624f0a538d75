"""Many models over one pass of the cache: each has the bits that it has alone, and every clip is read once."""

import gc
import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset

from stillmotion import experiment
from stillmotion.cli import main
from stillmotion.data.source import Data, load_data
from stillmotion.errors import StillmotionError
from stillmotion.experiment import Job, fit, fit_together, make_caches
from stillmotion.features.memory import Memory
from stillmotion.features.store import FeatureStore
from stillmotion.methods import EVL, AttentiveProbe, ChangeProbe, LinearProbe, ViFiCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.sweep import sweep
from stillmotion.training import loop
from stillmotion.training.batches import BatchPlan
from stillmotion.training.best import Best
from stillmotion.training.config import Train

TRAIN = Train(lr=1e-3, epochs=3, batch_size=4, device="cpu", save_minutes=1e9)


def recipes(clip: Path) -> dict[str, Recipe[Any]]:
    """Other seeds, batches, epochs, outputs, and random cached views; two that share every batch."""
    evl = Recipe(method=EVL(num_frames=4, layers=2), train=TRAIN, backbone=str(clip))
    return {
        "evl": evl,
        "lr": replace(evl, train=replace(TRAIN, lr=1e-2)),
        "seed": replace(evl, train=replace(TRAIN, seed=1, batch_size=3, micro_batch=2)),
        "linear": replace(evl, method=LinearProbe(num_frames=4, dropout=0.3), train=replace(TRAIN, epochs=5)),
        "change": replace(evl, method=ChangeProbe(num_frames=4, blocks=2)),
        "attentive": replace(evl, method=AttentiveProbe(num_frames=4), augment="crop", cached_views=2),
    }


def jobs(clip: Path, folder: Path, out: Path) -> list[Job]:
    data = Data(data=folder)
    clips = load_data(data, 0)
    return [
        Job(recipe=recipe, clips=clips, data=data, place=Place(out=out / name, cache=out.parent / "cache"))
        for name, recipe in recipes(clip).items()
    ]


def trained(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.parent.name: load_file(path) for path in sorted(out.glob("*/model.safetensors"))}


def same(a: dict[str, dict[str, torch.Tensor]], b: dict[str, dict[str, torch.Tensor]]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n][k], b[n][k]) for n in a for k in a[n] | b[n])


@pytest.fixture
def alone(tiny_clip: Path, folder_of_videos: Path, tmp_path: Path) -> dict[str, dict[str, torch.Tensor]]:
    for job in jobs(tiny_clip, folder_of_videos, tmp_path / "alone"):
        fit_together([job], make_caches(job.recipe, job.place))
    return trained(tmp_path / "alone")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often every tensor is read from disk."""
    found: Counter[tuple[str, str]] = Counter()
    read = FeatureStore._read

    def counted(self: FeatureStore, item: str, name: str) -> torch.Tensor:
        found[item, name] += 1
        return read(self, item, name)

    monkeypatch.setattr(FeatureStore, "_read", counted)
    return found


def test_together_each_has_the_bits_that_it_has_alone(
    alone: dict[str, dict[str, torch.Tensor]], reads: Counter[tuple[str, str]], tiny_clip: Path,
    folder_of_videos: Path, tmp_path: Path,
) -> None:  # fmt: skip
    reads.clear()
    made = jobs(tiny_clip, folder_of_videos, tmp_path / "together")
    results = fit_together(made, make_caches(made[0].recipe, made[0].place))
    assert same(alone, trained(tmp_path / "together"))
    assert len(alone) == 6 and not torch.equal(alone["evl"]["head.2.weight"], alone["lr"]["head.2.weight"])
    assert len(reads) > 40 and set(reads.values()) == {1}, "every tensor is read from disk once, for all and for ever"
    for name, result in zip(recipes(tiny_clip), results):
        assert json.loads((tmp_path / "alone" / name / "results.json").read_text())["top1"] == result.report.top1


def test_models_with_the_same_clips_share_each_batch(
    tiny_clip: Path, folder_of_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = jobs(tiny_clip, folder_of_videos, tmp_path / "r")[:2]
    made = [replace(job, recipe=replace(job.recipe, train=replace(job.recipe.train, eval_every=0))) for job in made]
    seen: list[Any] = []
    accumulate = loop.Learner.accumulate
    monkeypatch.setattr(loop.Learner, "accumulate", lambda s, b, *a, **k: (seen.append(b), accumulate(s, b, *a, **k)))
    fit_together(made, make_caches(made[0].recipe, made[0].place))
    assert len(seen) == 2 * 9
    assert all(a is b for a, b in zip(seen[::2], seen[1::2]))


@pytest.mark.parametrize("at", [2, 11])
def test_stopped_together_they_go_on_to_the_same_bits(
    at: int, alone: dict[str, dict[str, torch.Tensor]], tiny_clip: Path, folder_of_videos: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    taken: list[int] = []
    step = loop.Trainer._step

    def interrupt(self: loop.Trainer, number: int, *rest: Any) -> Any:
        taken.append(number)
        if len(taken) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, number, *rest)

    monkeypatch.setattr(loop.Trainer, "_step", interrupt)
    made = jobs(tiny_clip, folder_of_videos, tmp_path / "run")
    with pytest.raises(loop.Stopped, match=f"stopped after step {at} of "):
        fit_together(made, make_caches(made[0].recipe, made[0].place))
    assert not trained(tmp_path / "run")
    fit_together(made, make_caches(made[0].recipe, made[0].place), keep=True)
    assert same(alone, trained(tmp_path / "run"))
    total = sum(r.train.epochs * -(-10 // r.train.batch_size) for r in recipes(tiny_clip).values())
    assert len(taken) == total, "no step is taken twice"


def test_memory_forgets_what_was_not_asked_for_longest() -> None:
    memory, read = Memory(budget=3 * 4), list[str]()

    def get(name: str) -> None:
        memory.get(name, lambda: (read.append(name), {"x": torch.ones(1)})[1])

    for name in "abcacdbd":
        get(name)
    assert "".join(read) == "abcdb"


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_best_epoch_is_kept_and_patience_ends_a_run(keep: Any) -> None:
    best = Best(keep, patience=2)
    weights = {"a": torch.zeros(1)}
    for epoch, top1 in enumerate((0.3, 0.5, 0.5), start=1):
        weights["a"].fill_(epoch)
        best.see(epoch, top1, weights)
    again = Best(keep, patience=2)
    again.load(best.state())
    assert (again.epoch, again.exhausted) == (2, False)
    again.see(4, 0.4, weights)
    assert again.exhausted and again.last == 4
    assert (again.weights is None) if keep == "last" else again.weights is not None and again.weights["a"].item() == 2
    with pytest.raises(StillmotionError, match="older version"):
        Best().load({"epoch": 1})


def test_a_run_keeps_its_best_epoch_and_says_so(
    tiny_clip: Path, folder_of_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A schedule of accuracies: the second of five epochs is the best, and patience ends the run after the fourth."""
    accuracies = iter((0.2, 0.9, 0.5, 0.4))
    whole = experiment.numbers
    monkeypatch.setattr(experiment, "numbers", lambda *a: whole(*a) | {"top1": next(accuracies)})
    kept: list[torch.Tensor] = []
    look = experiment._Run._look

    def watch(self: Any, epoch: int) -> dict[str, float]:
        kept.append(self.learner.model.head[2].weight.detach().clone())
        return look(self, epoch)

    monkeypatch.setattr(experiment._Run, "_look", watch)
    recipe = recipes(tiny_clip)["linear"]
    recipe = replace(recipe, train=replace(recipe.train, keep="best", patience=2))
    lines: list[dict[str, float]] = []
    place = Place(out=tmp_path / "r", cache=tmp_path / "cache")
    fit(recipe, Data(data=folder_of_videos), place, callback=lines.append)
    assert torch.equal(load_file(tmp_path / "r" / "model.safetensors")["head.2.weight"], kept[1])
    assert [line["epoch"] for line in lines if "epoch" in line] == [1, 2, 3, 4]
    assert json.loads((tmp_path / "r" / "results.json").read_text())["epoch"] == 2
    said = capsys.readouterr().err
    assert "epoch 2 of 5: loss " in said and "validation top-1 90.0 %" in said
    assert "no better than epoch 2 for 2 evaluations: ended after epoch 4" in said


def test_what_trains_the_backbone_goes_one_after_the_other(
    tiny_clip: Path, folder_of_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(method=ViFiCLIP(num_frames=2), backbone=str(tiny_clip), train=replace(TRAIN, epochs=1))
    data = Data(data=folder_of_videos)
    two = {lr: replace(recipe, train=replace(recipe.train, lr=lr)) for lr in (1e-4, 1e-3)}
    together: list[int] = []
    whole = experiment.train_together
    monkeypatch.setattr(experiment, "train_together", lambda t: (together.append(len(t)), whole(t)))
    sweep([({"lr": str(lr)}, r) for lr, r in two.items()], data, Place(out=tmp_path / "s"))
    assert together == [1, 1]
    for lr, r in two.items():
        fit(r, data, Place(out=tmp_path / f"{lr}"))
        alone = load_file(tmp_path / f"{lr}" / "model.safetensors")
        assert same({"a": alone}, {"a": load_file(tmp_path / "s" / f"lr-{lr}" / "model.safetensors")})


def test_sweep(tiny_clip: Path, folder_of_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "linear_probe", "--data", str(folder_of_videos), "--backbone", str(tiny_clip), "--num-frames",
             "4", "--lr", "1e-3", "3e-2", "--seed", "0", "1", "--epochs", "2", "--device", "cpu",
             "--out", str(tmp_path / "s")]  # fmt: skip
    main(words)
    out, err = capsys.readouterr()
    assert "spread" in out and "stillmotion predict " in out
    assert "each seed splits off validation clips of its own; pass --val to score every model on the same" in err
    rows = json.loads((tmp_path / "s" / "sweep.json").read_text())["settings"]
    assert [row["mean"] for row in rows] == sorted((row["mean"] for row in rows), reverse=True)
    assert {row["values"]["lr"] for row in rows} == {"1e-3", "3e-2"}
    assert all(len(row["runs"]) == 2 for row in rows)
    alone = tmp_path / "alone"
    main(["train", *(w for w in words[1:-1] if w not in ("3e-2", "0")), str(alone)])
    swept = load_file(tmp_path / "s" / "lr-1e-3_seed-1" / "model.safetensors")
    assert same({"a": swept}, {"a": load_file(alone / "model.safetensors")})


def test_a_setting_that_diverges_is_named_and_the_others_are_trained(
    tiny_clip: Path, folder_of_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(folder_of_videos), "--backbone", str(tiny_clip), "--num-frames", "4", "--epochs", "2",
             "--device", "cpu"]  # fmt: skip
    main(["sweep", "linear_probe", "--lr", "1e-3", "1e38", *words, "--out", str(tmp_path / "s")])
    said = capsys.readouterr().err
    assert "lr-1e38: the loss is nan" in said and "the others go on" in said
    found = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert [row["values"] for row in found["settings"]] == [{"lr": "1e-3"}]
    assert [row["values"] for row in found["diverged"]] == [{"lr": "1e38"}]
    main(["train", "linear_probe", "--lr", "1e-3", *words, "--out", str(tmp_path / "alone")])
    alone, swept = (load_file(tmp_path / p / "model.safetensors") for p in ("alone", "s/lr-1e-3"))
    assert same({"a": alone}, {"a": swept})


def test_clips_are_read_here_and_once_also_where_workers_would_read_them(
    tiny_clip: Path, folder_of_videos: Path, tmp_path: Path, reads: Counter[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As for one run with a GPU that does not say how many."""
    monkeypatch.setattr(experiment, "data_workers", lambda *_: 1)
    monkeypatch.setattr(loop, "data_workers", lambda *_: 1)
    made = jobs(tiny_clip, folder_of_videos, tmp_path / "r")[:2]
    no_look = [replace(job.recipe.train, eval_every=0, epochs=2) for job in made]
    made = [replace(job, recipe=replace(job.recipe, train=train)) for job, train in zip(made, no_look)]
    fit_together(made, make_caches(made[0].recipe, made[0].place))
    assert reads and set(reads.values()) == {1}


def test_models_do_not_pile_up(tiny_clip: Path, folder_of_videos: Path, tmp_path: Path) -> None:
    """Each of several that are trained one after the other is gone when the next begins."""
    recipe = Recipe(method=ViFiCLIP(num_frames=2), backbone=str(tiny_clip), train=replace(TRAIN, epochs=1))
    alive: list[int] = []

    def look(_: dict[str, float]) -> None:
        alive.append(sum(type(x) is loop.Learner for x in gc.get_objects()))

    data = Data(data=folder_of_videos)
    clips = load_data(data, 0)
    several = [
        Job(recipe=replace(recipe, train=replace(recipe.train, seed=seed)), clips=clips, data=data,
            place=Place(out=tmp_path / str(seed)))
        for seed in range(3)
    ]  # fmt: skip
    gc.disable()
    try:
        fit_together(several, make_caches(recipe, several[0].place), callback=look)
    finally:
        gc.enable()
    assert set(alive) == {alive[0]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", "1e-3", "1e-2", "--lr", "5e-3"], "--lr is given twice; give all of its values once"),
        (["--lr", "1e-3", "0.001"], "lr 1e-3 and lr 0.001 are one setting; give each value once"),
        (["--lr", "1e-3", "1e-2", "--track", "tensorboard"], "--track follows one run"),
        (["--lr", "1e-3"], "there is one setting; give several values"),
        (["--lr", "1e-3", "x"], "x"),
        (["--lr", "1e-3", "1e-3"], "lr 1e-3 and lr 1e-3 are one setting"),
        (["--out", "a", "b"], "--out has 2 values; several are for fields of the recipe"),
        (["b", "--lr", "1", "2"], "'b' stands before the options"),
        (["--lrr", "1", "2"], "--lrr has 2 values; several are for fields of the recipe; did you mean 'lr'?"),
    ],
)
def test_wrong_sweeps_are_one_line(
    words: list[str], said: str, tiny_clip: Path, folder_of_videos: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rest = ["--data", str(folder_of_videos), "--backbone", str(tiny_clip), "--out", str(tmp_path / "s")]
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "linear_probe", *words, *(rest[:4] if "--out" in words else rest)])
    captured = capsys.readouterr().err
    assert stop.value.code == 2 and said in captured.splitlines()[-1]


def test_workers_that_are_asked_for_read_for_all_and_change_no_bit(
    alone: dict[str, dict[str, torch.Tensor]], reads: Counter[tuple[str, str]], tiny_clip: Path,
    folder_of_videos: Path, tmp_path: Path,
) -> None:  # fmt: skip
    reads.clear()
    made = jobs(tiny_clip, folder_of_videos, tmp_path / "together")
    made = [replace(job, recipe=replace(job.recipe, train=replace(job.recipe.train, workers=2))) for job in made]
    fit_together(made, make_caches(made[0].recipe, made[0].place))
    assert same(alone, trained(tmp_path / "together"))
    assert not reads, "every tensor was read by a worker"


class Numbers(Dataset[int]):
    collate = staticmethod(tuple)

    def __init__(self, start: int):
        self.start = start

    def __getitem__(self, key: tuple[int, int]) -> int:
        return self.start + 10 * key[0] + key[1]


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.parametrize("end", [0, 1, 2, 3, 5, 8])
def test_batches_of_a_learner_that_is_over_are_passed_by(workers: int | None, end: int) -> None:
    """Three learners share a data set, one has its own; the first is over behind a turn, read ahead or not."""

    def trainer(start: int, size: int, micro: int | None = None) -> Any:
        plan = BatchPlan(6, size, micro, 2, seed=0)
        return SimpleNamespace(over=False, dataset=data[start], plan=plan, config=replace(TRAIN, workers=workers),
                               accelerator=SimpleNamespace(device=torch.device("cpu")))  # fmt: skip

    data = {start: Numbers(start) for start in (0, 1000)}
    trainers = [trainer(0, 2), trainer(0, 4, 2), trainer(1000, 3), trainer(0, 2)]
    turns = loop._turns(trainers)
    batches = loop._shared(trainers, turns)
    for number, (i, step) in enumerate(turns):
        trainers[0].over = number >= end
        if not trainers[i].over:
            for keys in trainers[i].plan.micro_batches(step):
                assert next(batches) == tuple(trainers[i].dataset[key] for key in keys)
    assert next(batches, None) is None
