"""Write files so that a crash, a full disk or a second process never leaves half a file behind."""

import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stillmotion.errors import DiskError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an exception.

    Raises:
        DiskError: the disk is full, or the folder cannot be written to.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("r+b") as file:  # Windows flushes only what may be written to
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files private
        temporary.replace(path)
    except Exception as error:  # libraries wrap a full disk in exceptions of their own
        raise_if_disk(error, path)
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` when the block ends without an exception.

    Raises:
        DiskError: there is something at `path`, the disk is full, or the place cannot be written to.
    """
    if path.exists():
        raise DiskError(f"{path} is there already; choose another folder, or remove it")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)
    except Exception as error:
        raise_if_disk(error, path)
        raise
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


_FULL = ("No space left", "File too large")


def raise_if_disk(error: Exception, path: Path) -> None:
    """Turn a full disk or a missing right (also where a library hides it in its message) into a `DiskError`."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(w in str(error) for w in _FULL):
        raise DiskError(f"no space left to write {path}; free some space or choose another folder") from error
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "ermission denied" in str(error):
        raise DiskError(f"no right to write {path}; choose another folder") from error
    if number == errno.ENOENT:
        raise DiskError(f"cannot write {path}: its folder cannot be made; choose another one") from error
    if number == errno.EISDIR:
        raise DiskError(f"cannot write {path}: it is a folder; name a file") from error
    if number in (errno.ENOTDIR, errno.EEXIST):
        raise DiskError(f"cannot write {path}: a file is in the way of a folder; choose another folder") from error


def append_line(path: Path, text: str) -> None:
    """Add one line to a text file, made with its folder if it is not there.

    Raises:
        DiskError: the disk is full, or the file cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
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
    """Write a file as `torch.save` does, whole or not at all.

    Raises:
        DiskError: the disk is full, or the folder cannot be written to.
    """
    import torch

    with atomic_write(path) as temporary:
        buffer = io.BytesIO()  # PyTorch's own writer hides that the disk is full
        torch.save(content, buffer)
        temporary.write_bytes(buffer.getbuffer())


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
