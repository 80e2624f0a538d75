"""Predict from many threads, with classes assigned meanwhile, and in processes forked after a prediction.

python -m tests.faults.threads --count 643 --seed 0
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import torch

from stillmotion.classifier import Classifier
from stillmotion.open_vocabulary import from_backbone
from tests.faults import Row, Trial, World, fork, main

NAMES = (("run", "walk", "jump"), ("a cat", "a dog"), ("one", "two", "three", "four", "five"))


def classifier(world: World) -> Classifier:
    """Of any classes."""
    return from_backbone("zero_shot", NAMES[0], backbone=str(world.clip), device="cpu")


def predict(world: World, row: Row, assign: bool = False) -> None:
    """Eight threads and one classifier: every prediction is that of one thread for one of the lists of classes."""
    model, clips = classifier(world), sorted((world.folder / "clips").rglob("*.mp4"))
    lists, expected = NAMES if assign else NAMES[:1], {}
    for names in lists:
        model.classes = names
        expected |= {(clip, frozenset(names)): model(clip) for clip in clips}
    numbers, done = count(), []

    def one(i: int) -> str:
        if assign:
            model.classes = lists[next(numbers) % len(lists)]
        clip: Path = clips[i % len(clips)]
        try:
            found = model(clip)
        except Exception as error:
            return repr(error)
        return "" if found == expected.get((clip, frozenset(found.scores))) else f"another prediction for {clip.name}"

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(one, row))
    for i, problem in enumerate(done):
        row.check(problem, i)


def predict_and_assign(world: World, row: Row) -> None:
    """Each thread also assigns classes before it predicts."""
    predict(world, row, assign=True)


def forked(world: World, row: Row) -> None:
    """A process forked after a prediction of two threads predicts the same, and does not wait for ever."""
    torch.set_num_threads(2)
    model, clip = classifier(world), next((world.folder / "clips").rglob("*.mp4"))
    expected = model(clip)
    for i in row:
        out = world.folder / f"{i}.log"
        child = fork(lambda: os._exit(0 if model(clip).label == expected.label else 3), out).wait(60)
        row.check(child.code and f"code {child.code}: {child.said}", i)


TRIALS: dict[str, tuple[Trial, int]] = {
    "predictions of 8 threads": (predict, 320),
    "the same while classes are assigned": (predict_and_assign, 320),
    "fork after a prediction": (forked, 3),
}

if __name__ == "__main__":
    sys.exit(main(TRIALS))
