"""Clips with fewer frames than a view reads, said once before training: sampling then repeats frames."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from stillmotion.data.manifest import Clip
from stillmotion.data.video import announced
from stillmotion.errors import VideoError
from stillmotion.progress import is_main_process, say

LOOKED_AT = 16
_SAID: set[tuple[Path, int]] = set()


def say_if_short(clips: Sequence[Clip], num_frames: int) -> None:
    """Say so where most of some clips, 16 of them at most, have fewer than `num_frames` frames by their headers.

    Once in a process for a number of frames and a folder, whose clips several runs may share.
    """
    paths = [clip.path.absolute() for clip in clips[:: max(1, len(clips) // LOOKED_AT)][:LOOKED_AT]]
    if not paths or not is_main_process() or (key := (paths[0].parent.parent, num_frames)) in _SAID:
        return
    known = [count for path in paths if (count := _frames(path))]
    short = [count for count in known if count < num_frames]
    if 2 * len(short) > len(known):
        _SAID.add(key)
        say(
            f"warning: num-frames is {num_frames}, and {len(short)} of {len(known)} clips looked at have fewer, about "
            f"{median(short):.0f}: the same frames are read several times over, which takes time and tells nothing; "
            f"pass --num-frames {max(1, int(median(short)) // 2)}, say"
        )


def _frames(path: Path) -> int:
    """Frames that a file announces; 0 for one that cannot be read, which is named where it is decoded."""
    try:
        return announced(path).frames
    except VideoError:
        return 0
