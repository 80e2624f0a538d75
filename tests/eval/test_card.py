"""The card of a number: whole, JSON-ready, and the same for the same set wherever it lies."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from stillmotion.data.bad import BadVideo
from stillmotion.data.manifest import Clip, Manifest
from stillmotion.eval.card import Made, manifest_hash, number_card, tensors_hash
from stillmotion.eval.report import Report, Scores
from stillmotion.origin import origin


def manifest(root: str) -> Manifest:
    return Manifest(tuple(Clip(Path(f"{root}/c{i % 2}/r{i // 4}_{i}.mp4"), i % 2) for i in range(9)), ("a", "b c"))


def test_a_set_is_known_by_its_content() -> None:
    lines = "".join(sorted(f"c{i % 2}/r{i // 4}_{i}.mp4 {('a', 'b c')[i % 2]}\n" for i in range(9)))
    assert manifest_hash(manifest("/x")) == hashlib.sha256(lines.encode()).hexdigest()
    assert manifest_hash(manifest("/y/z")) == manifest_hash(manifest("/x")) == manifest_hash(manifest("w"))
    clips = manifest("/x").clips
    assert manifest_hash(Manifest(clips[::-1], ("a", "b c"))) == manifest_hash(manifest("/x"))
    assert manifest_hash(Manifest(clips[1:], ("a", "b c"))) != manifest_hash(manifest("/x"))
    assert manifest_hash(Manifest(clips, ("b c", "a"))) != manifest_hash(manifest("/x"))
    assert manifest_hash(Manifest((), ())) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(("group", "draws"), [(None, 8), (r"(r\d+)_", 2), (r"(mp4)", 8)])
def test_a_card_is_whole(group: str | None, draws: int) -> None:
    clips = manifest("/x")
    labels = torch.tensor([c.label for c in clips.clips[:8]])
    called = torch.tensor([0, 1, 0, 1, 0, 1, 1, 1])
    scores = Scores(
        indices=torch.arange(8),
        labels=labels,
        probabilities=nn.functional.one_hot(called, 2).float(),
        bad=(BadVideo("/x/c0/r2_8.mp4", "cut short"),),
        total=9,
    )
    made = Made({"recipe": {"lr": 0.1}}, {"train": 3}, {"test": clips}, {"model": "ff"}, origin())
    report = Report.of(scores, clips.classes)
    card = json.loads(json.dumps(number_card(scores, report, made, group), allow_nan=False))
    assert card["switches"] == {"recipe": {"lr": 0.1}}
    assert card["seeds"] == {"train": 3, "bootstrap": 0}
    assert card["manifests"]["test"] == {"sha256": manifest_hash(clips), "videos": 9, "classes": 2}
    assert card["videos"]["scored"] + len(card["videos"]["skipped"]) == card["videos"]["total"] == 9
    assert set(card["versions"]) == {"stillmotion", "torch", "av", "python"}
    assert card["machine"]["cpu"]
    assert card["top1"] == 7 / 8
    assert [c["recall"] for c in card["classes"]] == [0.75, 1.0]
    low, high = card["intervals"]["bootstrap_top1"]
    assert low <= 7 / 8 <= high
    assert card["intervals"]["draws_of"] == draws
    assert card["intervals"]["drawn"].startswith("recordings" if draws == 2 else "videos")


def test_tensors_are_known_by_value() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    assert tensors_hash(a) != tensors_hash(b)
    b.load_state_dict(a.state_dict())
    assert tensors_hash(a) == tensors_hash(b) != tensors_hash(b.double())
