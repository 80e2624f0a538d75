"""Tables in documents, each between two marks, so that a script can write its own again and nothing else."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from stillmotion.origin import cpu_name

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results.md"


@dataclass(frozen=True)
class Options:
    """How a script runs that has nothing else to be told."""

    quick: bool = False
    """A small part in a few seconds, printed and written nowhere."""


def write_section(document: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises:
        ValueError: the document has no such marks.
    """
    content = document.read_text(encoding="utf-8")
    marks = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not marks.search(content):
        raise ValueError(f"{document} has no section '<!-- {name} -->'; add the two marks where the table belongs")
    document.write_text(marks.sub(lambda m: f"{m[1]}\n{text.strip()}\n\n{m[2]}", content), encoding="utf-8")
    print(f"wrote section {name} of {document.relative_to(ROOT)}")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """What the numbers were measured on."""
    return f"{os.cpu_count()} cores of {cpu_name()}, torch {torch.__version__.split('+')[0]}"
