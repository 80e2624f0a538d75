"""The card of a number: all that it was made with and of, as one structure that a table's cell can hold."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import nn

from stillmotion.data.manifest import Clip, Manifest, group_key
from stillmotion.errors import DataError
from stillmotion.eval.bootstrap import RESAMPLES, Outcomes, accuracy_interval
from stillmotion.eval.multi_label import headline
from stillmotion.eval.report import Report, Scores

Json = dict[str, Any]
FORMAT = "stillmotion-number/1"


@dataclass(frozen=True)
class Made:
    """What a number was made with: the resolved configuration, seeds by what they decide, the clips (those that were
    scored are `test`), hashes of weights, and the command, versions, machine and date (`origin.origin()`).
    """

    switches: Mapping[str, Any]
    seeds: Mapping[str, int]
    clips: Mapping[str, Manifest]
    weights: Mapping[str, str]
    origin: Mapping[str, Any]


def number_card(scores: Scores, report: Report, made: Made, group: str | None = None) -> Json:
    """The card of an evaluation, JSON-ready.

    `group` finds a clip's recording in its path; whole recordings are drawn by the bootstrap then. Where that cannot be
    (one recording alone was scored), videos are drawn, and the card says why.
    """
    clips = made.clips["test"]
    scored = [clips.clips[index] for index in scores.indices.tolist()]
    classes = zip(report.classes, report.support, report.recall, report.precision, report.f1)
    return {
        "format": FORMAT,
        "switches": dict(made.switches),
        "seeds": {**made.seeds, "bootstrap": 0},
        "manifests": {
            name: {"sha256": manifest_hash(part), "videos": len(part), "classes": len(part.classes)}
            for name, part in made.clips.items()
        },
        "weights": dict(made.weights),
        **made.origin,
        "videos": {"total": report.videos, "scored": report.scored, "skipped": list(report.bad)},
        **headline(report),
        "intervals": {"confidence": 0.95, "wilson_top1": list(report.top1_interval)}
        | (_bootstrapped(scores, scored, clips, group) if scores.targets is None else {}),
        "classes": [
            {"name": name, "videos": n, "recall": recall, "precision": precision, "f1": f1}
            for name, n, recall, precision, f1 in classes
        ],
    }


def _bootstrapped(scores: Scores, scored: list[Clip], clips: Manifest, group: str | None) -> dict[str, Any]:
    outcomes, drawn = _outcomes(scores, scored, clips, group)
    return {
        "bootstrap_top1": list(accuracy_interval(outcomes, "top1")),
        "bootstrap_mean_class": list(accuracy_interval(outcomes, "mean_class")),
        "resamples": RESAMPLES,
        "drawn": drawn,
        "draws_of": outcomes.num_sources,
    }


def _outcomes(scores: Scores, scored: list[Clip], clips: Manifest, group: str | None) -> tuple[Outcomes, str]:
    if group is None:
        return Outcomes.of(scores), "videos"
    try:
        key = group_key(Manifest(tuple(scored), clips.classes), group)
    except DataError as error:
        return Outcomes.of(scores), f"videos ({error})"
    return Outcomes.of(scores, [key(clip) for clip in scored]), f"recordings ({group})"


def manifest_hash(manifest: Manifest) -> str:
    """SHA-256 of the sorted lines `path label`, in UTF-8, ended by line feeds.

    Paths start behind the folder that all of them are in, so that the same set has the same hash wherever it lies.
    """
    paths = [os.path.abspath(clip.path) for clip in manifest.clips]  # noqa: PTH100, what links point to is no name
    root = os.path.commonpath([str(Path(path).parent) for path in paths]) if paths else ""
    lines = sorted(
        f"{PurePath(os.path.relpath(path, root)).as_posix()} {'|'.join(manifest.classes[k] for k in clip.every)}\n"
        for path, clip in zip(paths, manifest.clips)
    )
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def tensors_hash(model: nn.Module) -> str:
    """SHA-256 over names, shapes, kinds and values of a model's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
