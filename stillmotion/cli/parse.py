"""Typed options from dataclasses, by tyro; its error boxes, which it offers in no other form, become one line."""

import contextlib
import difflib
import io
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from stillmotion.errors import StillmotionError, did_you_mean

T = TypeVar("T")
_SHORT = {"-o": "--out", "-h": "--help"}
_PLAIN = (  # what tyro says of a value, and what is said here
    (
        r"(?:Error parsing )?(\S+): invalid literal for int\(\) with base 10: (.*)",
        r"\1 is \2; it must be a whole number",
    ),
    (r"(?:Error parsing )?(\S+): could not convert string to float: (.*)", r"\1 is \2; it must be a number"),
    (r"Missing value for argument '(\S+)'\. Expected 1 values", r"\1 has no value; write one behind it"),
)


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
        raise StillmotionError(f"{_one_line(errors.getvalue(), words)}; see {prog} --help") from None


def split_options(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Options and their values, in order. Raises `StillmotionError`: one is given twice, or words before all."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--") or word in _SHORT:
            option, equals, value = _SHORT.get(word, word).partition("=")
            if option in dict(found):
                raise StillmotionError(f"{option} is given twice; give all of its values once")
            found.append((option, [value] if equals else []))
        elif found:
            found[-1][1].append(word)
        else:
            raise StillmotionError(f"{word!r} stands before the options; name one recipe")
    return found


def _one_line(box: str, words: Sequence[str]) -> str:
    """The message of an error box, its first part, and the first option that another part suggests."""
    text = re.sub(r"(?m)^[│|] ?| *[│|]$", "", box)
    if "Missing from" in text:
        return _missing(text, words)
    # Its parts lie between lines of dashes, of which the first holds its title.
    parts = [" ".join(part.split()) for part in re.split(r"(?m)^\W*(?:\w[\w ]*)?[─-]{3,}\W*$", text)]
    text = (parts[1] if len(parts) > 1 else text).rstrip(".")
    hint = re.search(r"Perhaps you meant: (--[\w-]+)", " ".join(parts))
    if "Unrecognized options:" in text:
        return _unknown(text.partition(":")[2].strip(), words) + (f"; did you mean {hint[1]!r}?" if hint else "")
    if choice := re.fullmatch(r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*)\)", text):
        known = [word.strip(" '") for word in choice[3].split(",")]
        near = did_you_mean(choice[1], [word for word in known if word not in ("", "None")])
        return f"{choice[2]} has no choice {choice[1]!r}{near}"
    for said, plain in _PLAIN:
        text = re.sub(said, plain, text)
    return re.sub(r"^Error parsing (?!-)[\w.]+: ", "", text)  # the dataclass, which means nothing to a user


def _unknown(text: str, words: Sequence[str]) -> str:
    """What is wrong with words that no option takes; the first of them is named."""
    word = text.split(", ")[0]
    before = next((w for w in reversed(words[: words.index(word)]) if w.startswith("-")), "") if word in words else ""
    if word.startswith("-") or not before:
        return f"unknown option {word}"
    return f"{word!r} is one word too many behind {before}"


def _missing(text: str, words: Sequence[str]) -> str:
    """What was not given, of a box whose arguments stand at one depth and their help behind each, deeper."""
    before, _, text = text.partition("Missing from")
    depth = len(before) - len(before.rstrip(" ")) + 4
    text = re.split(r"(?m)^\W*[─-]{3,}\W*$", text)[0]
    # --data PATH; -o PATH, --out PATH; or the one word of an argument without a name
    names = [name.split(", ")[-1] for name in re.findall(rf"(?m)^ {{{depth}}}(?! )(.*\S) *$", text)]
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    near = [difflib.get_close_matches(name.split()[0], given, n=1, cutoff=0.7) for name in names]
    meant = [(name.split()[0], found[0]) for name, found in zip(names, near) if found]
    hint = f"; did you mean {meant[0][0]!r} by {meant[0][1]!r}?" if meant else ""
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing{hint}"
