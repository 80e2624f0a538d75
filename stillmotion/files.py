"""Write files so that a crash, a full disk or a second process never leaves half a file behind; know their content."""

import contextlib
import errno
import glob
import hashlib
import io
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stillmotion.errors import DiskError, StillmotionError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an exception.
    Raises `DiskError`: the disk is full, or the folder cannot be written to.
    """
    with _renamed(path) as temporary:
        yield temporary
        temporary.chmod(temporary.parent.stat().st_mode & 0o666)  # some libraries make files private
        with temporary.open("r+b") as file:  # Windows flushes only what may be written to
            os.fsync(file.fileno())


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` when the block ends without an exception.
    Raises `DiskError`: there is something at `path`, the disk is full, or the place cannot be written to.
    """
    if path.exists():
        raise DiskError(f"{path} is there already; choose another folder, or remove it")
    with _renamed(path) as temporary:
        temporary.mkdir()
        yield temporary


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    # In a folder of its own, for safetensors leaves temporary files of its own when it is killed.
    folder = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))
        folder.mkdir()
        yield folder / path.name
        (folder / path.name).replace(path)
    except Exception as error:  # libraries wrap a full disk in exceptions of their own
        raise_if_disk(error, path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(paths: Iterable[Path], seconds: float = 3600) -> None:
    """Remove what killed processes left half done and is so old; what is younger than an hour may be in use."""
    for path in paths:
        with contextlib.suppress(OSError):  # gone already, or not ours to remove
            if time.time() - path.stat().st_mtime > seconds:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


_FULL, _REFUSED = ("No space left", "File too large"), ("ermission denied", "Read-only file system")


def raise_if_disk(error: Exception, path: Path) -> None:
    """Turn a full disk or a missing right (also where a library hides it in its message) into a `DiskError`."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(w in str(error) for w in _FULL):
        raise DiskError(f"no space left to write {path}; free some space or choose another folder") from error
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or any(w in str(error) for w in _REFUSED):
        raise DiskError(f"no right to write {path}; choose another folder") from error
    if number == errno.ENOENT:
        raise DiskError(f"cannot write {path}: its folder cannot be made; choose another one") from error
    if number == errno.EISDIR:
        raise DiskError(f"cannot write {path}: it is a folder; name a file") from error
    if number in (errno.ENOTDIR, errno.EEXIST):
        raise DiskError(f"cannot write {path}: a file is in the way of a folder; choose another folder") from error


def hold(lock: FileLock, place: Path, refusal: str) -> None:
    """Take the lock of a place at once, making its folder.
    Raises `StillmotionError`: another process has it, which `refusal` says; `DiskError`: it cannot be made there.
    """
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise StillmotionError(refusal) from error
    except OSError as error:
        raise_if_disk(error, place)
        raise


def let_go(lock: FileLock) -> None:
    """Give a lock back, and remove its file."""
    if lock.is_locked:
        with contextlib.suppress(OSError):  # an open file cannot be removed on Windows
            Path(lock.lock_file).unlink()
    lock.release(force=True)


def append_line(path: Path, text: str) -> None:
    """Add a line to a text file, made where it is not there. Raises `DiskError`: no room, or no right to write."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text + "\n")
    except OSError as error:
        raise_if_disk(error, path)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, allow_nan=False, default=str)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_torch(path: Path, content: Any) -> None:
    """Write a file as `torch.save` does, whole or not at all. Raises `DiskError`: no room, or no right to write."""
    import torch

    with atomic_write(path) as temporary:
        buffer = io.BytesIO()  # PyTorch's own writer hides that the disk is full
        torch.save(content, buffer)
        temporary.write_bytes(buffer.getbuffer())


def short_digest(content: Any) -> str:
    """Sixteen hexadecimal digits that stand for a JSON-ready value (SHA-256, keys sorted)."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Digests:
    """SHA-256 of files, remembered in a folder by path, size and times, so that a second run reads no file again.
    Raises `DiskError`: the memo is there and cannot be read.

    The memo `digests.jsonl` only grows, by whole blocks of lines, so that processes can share it; each line has a
    checksum, and one that is damaged is as if it were not there. A file that was written to within two seconds of being
    read is not remembered, because clocks that coarse would hide a change. Without a folder there is no memo.
    """

    CLOCK = 2_000_000_000
    """Nanoseconds: times of the coarsest file system, FAT."""

    def __init__(self, folder: Path | None):
        self.memo = folder / "digests.jsonl" if folder else None
        self._known: dict[str, tuple[list[int], str]] = {}
        self._new: list[str] = []
        try:
            lines = self.memo.read_bytes().splitlines() if self.memo is not None and self.memo.is_file() else []
        except OSError as error:
            raise DiskError(f"cannot read {self.memo} ({error.strerror}); mend its permissions or remove it") from error
        for line in lines:
            check, _, text = line.partition(b" ")
            if check == _checksum(text).encode():
                path, facts, digest = json.loads(text)
                self._known[path] = facts, digest

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's content, 64 hexadecimal digits. Raises `OSError`: it cannot be read, or is no file."""
        name, facts = str(path.absolute()), _facts(path)
        known = self._known.get(name)
        if known is not None and known[0] == facts:
            return known[1]
        now = time.time_ns()
        digest = sha256(path)
        if now - facts[1] > self.CLOCK and _facts(path) == facts:
            self._known[name] = facts, digest
            self._new.append(json.dumps([name, facts, digest]))
        return digest

    def save(self) -> None:
        """Add what is new to the memo. Raises `DiskError`: the disk is full, or the folder cannot be written to."""
        lines, self._new = self._new, []
        if self.memo is not None and lines:
            # The first line break ends a line that another process did not finish.
            append_line(self.memo, "\n" + "\n".join(f"{_checksum(line.encode())} {line}" for line in lines))


def _facts(path: Path) -> list[int]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))
    # The time of the last change of anything, too: copying tools set the other one back.
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _checksum(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=8).hexdigest()
