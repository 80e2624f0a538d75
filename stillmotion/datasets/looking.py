"""One clip of an audit: whether it can be read, how long and large it is, and hashes of how it looks."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stillmotion.data.loader import batches
from stillmotion.data.video import announced, open_video
from stillmotion.datasets.nearness import SIDE
from stillmotion.errors import StillmotionError, VideoError, missing, one_line
from stillmotion.files import append_line
from stillmotion.progress import progress_bar, say

FRAMES = 5
"""Looked at of a clip, at the same parts of its length, so that a copy at another rate or size has the same ones."""
FLAT = 4.0
"""Standard deviation of gray values, of 255, below which a frame says nothing: black, white, a fade."""
SHORT = 0.9
"""Part of the frames that a header announces below which a file is cut short."""
THUMB = 96
"""Rows in pixels of a picture for the page."""


@dataclass(frozen=True)
class Seen:
    """What was found of a clip; `facts` are its size and time of change, by which a later audit knows it again.

    fault: missing, empty, unreadable or cut short, or "" for a clip that is well, and `why`; hashes: 256 bits of each
    of its frames as hexadecimal digits, "" for a flat one; thumb: a JPEG in base64, of the clips that a page shows.
    """

    path: str
    facts: tuple[int, int] = (0, 0)
    fault: str = ""
    why: str = ""
    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    hashes: tuple[str, ...] = ()
    thumb: str = ""


class Clips:
    """Clips by number, looked at when asked for; of those of `shown` a picture is made."""

    def __init__(self, root: Path, paths: Sequence[str], shown: frozenset[str]):
        self.root, self.paths, self.shown = root, paths, shown

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Seen:
        path = self.paths[index]
        return look(self.root / path, path, path in self.shown)

    def lost(self, index: int, why: str) -> Seen:
        """What is known of a clip that ends the process that looks at it."""
        path = self.paths[index]
        return Seen(path, _facts(self.root / path), "unreadable", f"{self.root / path}: {why}")


def look(file: Path, path: str, shown: bool) -> Seen:
    """Open a file and decode five frames of it; faults are found, not raised."""
    if not file.exists():
        return Seen(path, fault="missing", why=f"no file {file}")
    facts = _facts(file)
    if file.is_file() and not facts[0]:
        return Seen(path, facts, "empty", f"{file} has 0 bytes")
    try:
        video = open_video(file)
        _, frames = video.sample(lambda n: [(2 * i + 1) * n // (2 * FRAMES) for i in range(FRAMES)])
        count, promised = video.num_frames, announced(file).frames
    except VideoError as error:
        return Seen(path, facts, "unreadable", str(error))
    except (ValueError, OSError, MemoryError, RuntimeError, LookupError, TypeError) as error:  # as in data/dataset.py
        return Seen(path, facts, "unreadable", one_line(error) or type(error).__name__)
    hashes, images = _hashes(frames.permute(0, 2, 3, 1).numpy())
    height, width = video.coded_size
    short = count < SHORT * promised
    why = f"{count} frames can be decoded of {promised} that its header announces" if short else ""
    thumb = _thumb(images[FRAMES // 2]) if shown else ""
    return Seen(path, facts, "cut short" if short else "", why, count, video.fps, width, height, hashes, thumb)


def look_at_all(root: Path, paths: Sequence[str], shown: frozenset[str], memo: Path, workers: int) -> list[Seen]:
    """Look at every clip once; those that `memo`, JSON lines, has already and that have not changed are not read again.
    Raises `StillmotionError`: packages are missing; `DiskError`: no room, or no right to write.
    """
    needs_packages()
    known = {seen.path: seen for seen in _remembered(memo)}
    known = {p: seen for p, seen in known.items() if _same(root / p, seen) and (seen.thumb or p not in shown)}
    todo = [path for path in paths if path not in known]
    if len(todo) < len(paths):
        say(f"{len(paths) - len(todo)} of {len(paths)} clips are known from {memo}")
    with progress_bar("looking at clips", len(todo)) as advance:
        for seen in batches(Clips(root, todo, shown), workers):
            append_line(memo, json.dumps(asdict(seen)))
            known[seen.path] = seen
            advance()
    return [known[path] for path in paths]


def needs_packages() -> None:
    """Refuse to begin without the packages of an audit: a `StillmotionError`."""
    try:
        import imagehash  # noqa: F401
    except ImportError as error:
        raise missing("audit", "an audit") from error


def _remembered(memo: Path) -> Iterator[Seen]:
    """What earlier audits saw; a line that a killed one left half written is as if it were not there."""
    for line in memo.read_bytes().splitlines() if memo.is_file() else ():
        try:
            row: dict[str, Any] = json.loads(line)
            yield Seen(**row | {"facts": tuple(row["facts"]), "hashes": tuple(row["hashes"])})
        except (ValueError, TypeError, KeyError):
            continue


def _same(file: Path, seen: Seen) -> bool:
    try:
        return seen.fault != "missing" and _facts(file) == seen.facts
    except OSError:
        return False


def _facts(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _hashes(frames: Any) -> tuple[tuple[str, ...], list[Any]]:
    import imagehash
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    return tuple("" if f.std() < FLAT else str(imagehash.phash(i, SIDE)) for f, i in zip(frames, images)), images


def _thumb(image: Any) -> str:
    buffer = io.BytesIO()
    width = min(2 * THUMB, max(1, round(THUMB * image.width / image.height)))
    image.resize((width, THUMB)).save(buffer, format="JPEG", quality=70, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def error_of(faults: Sequence[str], where: Path) -> StillmotionError:
    """What `--strict` says of an audit that found something."""
    return StillmotionError(f"the audit found {', '.join(faults)}; they are listed in {where}")
