"""Typed options from dataclasses, by tyro; its error boxes, which it offers in no other form, become one line."""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from stillmotion.errors import StillmotionError

T = TypeVar("T")


def parse(kind: Any, words: Sequence[str], prog: str, default: Any = None) -> Any:
    """Read the options of a dataclass from the command line; `--help` prints them and exits.
    Raises `StillmotionError`: an unknown option (with the nearest one), a missing or a wrong value.
    """
    errors = io.StringIO()
    options: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, args=list(words), prog=prog, config=(tyro.conf.OmitArgPrefixes,), **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise StillmotionError(f"{_one_line(errors.getvalue())}; see {prog} --help") from None


def _one_line(box: str) -> str:
    """The message of an error box, its first part, and the first option that another part suggests."""
    text = re.sub(r"(?m)^[│|] ?| *[│|]$", "", box)
    # Its parts lie between lines of dashes, of which the first holds its title.
    parts = [" ".join(part.split()) for part in re.split(r"(?m)^\W*(?:\w[\w ]*)?[─-]{3,}\W*$", text)]
    text = (parts[1] if len(parts) > 1 else text).rstrip(".")
    hint = re.search(r"Perhaps you meant: (--[\w-]+)", " ".join(parts))
    if "Unrecognized options:" not in text:
        return text
    return text.replace("Unrecognized options:", "unknown option") + (f"; did you mean {hint[1]!r}?" if hint else "")
