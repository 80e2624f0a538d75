"""Weizmann's clips, ACTION/ACTOR_ACTION.avi, in folds of actors not seen in training, and what stands for them."""

from collections.abc import Sequence
from pathlib import Path

from tiny import write_clip

from stillmotion.files import atomic_write


def read_clips(data: Path) -> tuple[list[Path], list[str]]:
    """The clips of a folder, and the names of the nine actors. Ends the program where there are others."""
    clips = sorted(data.glob("*/*.avi"))
    actors = sorted({clip.stem.split("_")[0] for clip in clips})
    if len(actors) != 9:
        raise SystemExit(f"{data} has clips of {len(actors)} actors, Weizmann has 9: pass its folder as --data")
    return clips, actors


def write_fold(folder: Path, clips: Sequence[Path], actors: Sequence[str], fold: int) -> tuple[Path, Path]:
    """Write the lists `train.txt` and `val.txt` of one of three folds, of which three actors are held out."""
    held = actors[3 * fold : 3 * fold + 3]
    lists = folder / "train.txt", folder / "val.txt"
    for path in lists:
        kept = [c for c in clips if (c.stem.split("_")[0] in held) == (path.stem == "val")]
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{c.resolve().as_posix()} {c.parent.name}\n" for c in kept), encoding="utf-8")
    return lists


def write_clips(folder: Path) -> Path:
    """Two actions of nine actors as textures that move, for `--quick`."""
    for number in range(18):
        actor, action = f"actor{number % 9}", ("bend", "walk")[number // 9]
        write_clip(folder / action / f"{actor}_{action}.avi", 12, codec="mpeg4", seed=number)
    return folder
