"""Videos that cannot be read: skipped, counted, listed in a file, and too many of them end the run."""

import json
from dataclasses import dataclass
from pathlib import Path

from stillmotion.errors import DataError
from stillmotion.files import append_line


@dataclass(frozen=True)
class BadVideo:
    """A video that was skipped, and why."""

    path: str
    reason: str

    @classmethod
    def lost(cls, path: Path, why: str) -> "BadVideo":
        """One that ends the process that reads it."""
        return cls(str(path), f"{path}: {why}; replace or remove it")


class BadVideos:
    """The videos that a run has skipped: of `total`, the part `max_bad`, in [0, 1], may be bad.

    They are added to `list_file`, of JSON lines; None keeps them in memory.
    """

    def __init__(self, list_file: Path | None, total: int, max_bad: float):
        self.list_file, self.total, self.max_bad = list_file, total, max_bad
        self.found: dict[str, BadVideo] = {}
        self._listed: set[str] = set()
        self._read = 0  # bytes of the list

    def add(self, bad: BadVideo) -> None:
        """Count a video once, and list it. Raises `DataError`: more than `max_bad` of all videos are bad."""
        if bad.path in self.found:
            return
        self.found[bad.path] = bad
        if self.list_file is not None:
            line = json.dumps({"path": bad.path, "reason": bad.reason})
            # A continued run, and the other processes of this one, meet the same file again.
            if line not in self._lines(self.list_file):
                append_line(self.list_file, line)
        if len(self.found) > self.max_bad * self.total:
            where = f"; those met so far are listed in {self.list_file}" if self.list_file else ""
            raise DataError(
                f"{len(self.found)} of {self.total} videos cannot be read, more than --max-bad {self.max_bad:g} allows "
                f"(the last: {bad.reason}){where}; mend or remove them, or raise --max-bad"
            )

    def _lines(self, list_file: Path) -> set[str]:
        """The lines of the list, of which only those are read that came after the last reading."""
        if list_file.is_file():
            with list_file.open("rb") as file:
                file.seek(self._read)
                whole, end, _ = file.read().rpartition(b"\n")
            self._listed.update(whole.decode(errors="replace").splitlines())
            self._read += len(whole + end)
        return self._listed

    def summary(self) -> str:
        """One line on what was skipped; empty when nothing was."""
        if not self.found:
            return ""
        where = f", listed in {self.list_file}" if self.list_file else ""
        return f"{len(self.found)} of {self.total} videos could not be read and were skipped{where}"
