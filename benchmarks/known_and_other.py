"""Zero-shot CLIP and a tuned image tower on Weizmann's actions that have class embeddings: known and other classes.

    python benchmarks/known_and_other.py --data weizmann --embeddings ntu120_bare.npy --names ntu120_names.txt
    python benchmarks/known_and_other.py --quick

Five of the ten actions are among the 120 names of NTU RGB+D, whose class embeddings by CLIP's own text tower stand for
a text tower. ViFi-CLIP's image tower is tuned on three of them with six actors; the three others are held out.
The other two actions were never trained. Accuracies are among the five names and among all 120.
"""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from sections import RESULTS, machine, markdown, write_section
from tiny import write_clip, write_tower

import stillmotion
from stillmotion.classifier import Classifier
from stillmotion.data.source import Data
from stillmotion.experiment import fit
from stillmotion.recipes.base import Place
from stillmotion.recipes.vificlip import vificlip

ROWS = {"walk": 58, "run": 98, "skip": 25, "wave1": 22, "wave2": 94}
"""Of the actions among the names, counted from 0."""
KNOWN = ("walk", "skip", "wave2")


@dataclass(frozen=True)
class Options:
    """Where things are."""

    data: Path = Path("weizmann")
    """Folder with one folder per action, and clips named ACTOR_ACTION.avi."""
    embeddings: Path = Path("ntu120_bare.npy")
    """Class embeddings (120, 512) by CLIP ViT-B/16's text tower."""
    names: Path = Path("ntu120_names.txt")
    """The 120 names, one a line."""
    out: Path = Path("runs/known_and_other")
    """Folder of the run and its lists."""
    backbone: str = "ViT-B-16:openai-int8"
    """An image tower."""
    epochs: int = 5
    """Of tuning."""
    num_frames: int = 8
    """Of a view."""
    quick: bool = False
    """Generated clips, random embeddings and a tiny tower; the table is only printed."""


def accuracies(classifier: Classifier, clips: list[Path]) -> list[str]:
    """Top-1 of clips among the five names, and among all."""
    probabilities = []
    for outcome in classifier.predict(clips):
        probabilities.append([outcome.get().scores[name] for name in classifier.classes])
    scores, rows = np.array(probabilities), list(ROWS.values())
    truth = np.array([ROWS[clip.parent.name] for clip in clips])
    five = np.array(rows)[scores[:, rows].argmax(axis=1)]
    return [f"{(five == truth).mean():.3f}", f"{(scores.argmax(axis=1) == truth).mean():.3f}"]


def run(options: Options) -> str:
    """Tune, score before and after, and return the table."""
    options.out.mkdir(parents=True, exist_ok=True)
    embeddings = np.load(options.embeddings)
    names = [f"{i} {line}" for i, line in enumerate(options.names.read_text(encoding="utf-8").splitlines())]
    clips = sorted(clip for action in ROWS for clip in (options.data / action).glob("*.avi"))
    actors = sorted({clip.stem.split("_")[0] for clip in clips})
    held = {"train": actors[:6], "val": actors[6:]}
    for part, who in held.items():
        lines = [f"{c.resolve().as_posix()} {c.parent.name}" for c in clips if c.stem.split("_")[0] in who]
        known = [line for line in lines if line.rsplit(" ", 1)[1] in KNOWN]
        (options.out / f"{part}.txt").write_text("\n".join(known) + "\n", encoding="utf-8")
    np.save(options.out / "known.npy", embeddings[[ROWS[name] for name in sorted(KNOWN)]])
    recipe = vificlip()
    train = replace(recipe.train, epochs=options.epochs, batch_size=6, micro_batch=1, warmup=1, lr=5e-6, eval_every=0)
    method = replace(recipe.method, tuned="image", num_frames=options.num_frames)
    recipe = replace(recipe, method=method, train=train, backbone=options.backbone, augment="none")
    data = Data(data=options.out / "train.txt", val=options.out / "val.txt", text_features=options.out / "known.npy")
    tuned = fit(recipe, data, Place(out=options.out / "run"), keep=True)
    print(tuned.report, file=sys.stderr)
    models = {
        "zero-shot": stillmotion.from_backbone(
            "zero_shot", names, backbone=options.backbone, text_features=options.embeddings
        ),
        "image tower tuned": stillmotion.load(
            tuned.folder.model, backbone=options.backbone, classes=names, text_features=options.embeddings
        ),
    }
    models["zero-shot"].num_frames = options.num_frames
    unseen = [clip for clip in clips if clip.stem.split("_")[0] in held["val"]]
    groups = {
        "known actions, held-out actors": [clip for clip in unseen if clip.parent.name in KNOWN],
        "other actions, all actors": [clip for clip in clips if clip.parent.name not in KNOWN],
    }
    rows = [
        [f"{group} ({len(found)} clips)", name, *accuracies(model, found)]
        for group, found in groups.items()
        for name, model in models.items()
    ]
    return markdown(["clips", "model", "of 5 names", f"of {len(names)} names"], rows)


def main(options: Options) -> None:
    """Run, and write the table."""
    if not options.quick:
        write_section(RESULTS, "known and other", f"{machine()}.\n\n{run(options)}")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (actor, action) in enumerate((a, b) for a in "abcdefgh" for b in ROWS):
            write_clip(folder / "clips" / action / f"{actor}_{action}.avi", 12, codec="mpeg4", seed=number)
        np.save(folder / "words.npy", np.random.RandomState(0).randn(120, 32))
        (folder / "names.txt").write_text("\n".join(f"name {i}" for i in range(120)), encoding="utf-8")
        made = {"data": folder / "clips", "out": folder / "run", "embeddings": folder / "words.npy"}
        tower = str(write_tower(folder / "tower.safetensors"))
        made |= {"names": folder / "names.txt", "backbone": tower, "epochs": 2, "num_frames": 2}
        print(run(replace(options, **made)))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
