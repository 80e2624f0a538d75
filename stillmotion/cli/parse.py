"""Typed options from dataclasses, by tyro; its error boxes become one line."""

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

    Raises:
        StillmotionError: an unknown option (with the nearest one), a missing or a wrong value.
    """
    errors = io.StringIO()
    options: dict[str, Any] = {} if default is None else {"default": default}
    markers = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, args=list(words), prog=prog, config=markers, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise StillmotionError(f"{_one_line(errors.getvalue())}; see {prog} --help") from None


def _one_line(box: str) -> str:
    """The message of an error box, and the options it suggests."""
    lines = [line.strip("│╭╮╰╯─ \t") for line in box.splitlines()]
    body = [line for line in lines[1:] if line.strip("-")]
    message, hints = [], []
    for i, line in enumerate(body):
        if line.startswith(("For full helptext", "Argument helptext", "Perhaps you meant")):
            hints = [found for rest in body[i:] for found in re.findall(r"^(--[\w-]+)", rest)][:1]
            break
        message.append(line)
    text = " ".join(message).rstrip(".").replace("Unrecognized options:", "unknown option")
    meant = f"; did you mean {hints[0]!r}?" if hints and "unknown option" in text else ""
    return f"{text}{meant}"
