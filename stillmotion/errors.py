"""The exceptions that stillmotion raises for what a user can mend.

    ValueError
    └── StillmotionError      a bad value: the message holds the value, the rule and the fix, on one line
        ├── VideoError        a file that cannot be read as a video
        ├── DataError         a data set, list file or label that does not hold together
        ├── WeightsError      weights that cannot be found, read or matched with a model
        │   └── OtherWeightsError   weights that were given, and are not those that a model was made of
        └── DiskError         no room, or no right, to write

The command line prints the message and exits with code 2; everything else is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class StillmotionError(ValueError):
    """Base of every error that the user can mend; its message is one printable line, whatever names it repeats."""

    def __init__(self, message: object = ""):
        super().__init__(printable(" ".join(map(str.strip, str(message).splitlines()))))


class VideoError(StillmotionError):
    """A file cannot be read as a video."""


class DataError(StillmotionError):
    """A data set, list file or label does not hold together."""


class WeightsError(StillmotionError):
    """Weights cannot be found, read or matched with a model."""


class OtherWeightsError(WeightsError):
    """Weights were given that are not those that a model was made of."""


class DiskError(StillmotionError):
    """There is no room, or no right, to write."""


def reason(error: Exception, most: int = 160) -> str:
    """What an error of a library says, as a part of one line: its first line, or its name where it says nothing."""
    text = repr(error) if isinstance(error, LookupError) else str(error)  # which says the key alone
    said = (text.strip().splitlines() or [type(error).__name__])[0]
    return said if len(said) <= most else f"{said[:most].rpartition(' ')[0] or said[:most]} ..."


@contextmanager
def damaged(what: str, mend: str) -> Iterator[None]:
    """Turn what Python raises over content of another form into a `WeightsError`: `what` (its reason); `mend`."""
    try:
        yield
    except StillmotionError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{what} ({repr(error)[:160]}); {mend}") from error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, else `; choose from a, b, c`, the nearest 8 of many."""
    choices = sorted(known)
    lower = {c[:100].lower(): c for c in reversed(choices)}
    near = difflib.get_close_matches(word[:100].lower(), lower, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {lower[near[0]]!r}?"
    more = len(choices) - 8
    if more > 1:  # a ninth is as short as the words that it is left out
        some = sorted(lower)[:500]  # the first ones of very many: comparing takes time
        choices = [lower[c] for c in sorted(difflib.get_close_matches(word[:100].lower(), some, n=8, cutoff=0.0))]
    rest = f" and {more} more" if more > 1 else ""
    return f"; choose from {', '.join(choices)}{rest}" if choices else ""


def check_fields(config: object, rule: str, good: Callable[[Any], bool], *fields: str) -> None:
    """Refuse a dataclass with a field whose value is set and not good: a `StillmotionError` that says the rule."""
    for field in fields:
        value = getattr(config, field)
        if value is not None and not good(value):
            raise StillmotionError(f"{field.replace('_', '-')} is {value}; it must be {rule}")


def at_least(low: int, config: object, *fields: str, hint: str = "") -> None:
    """`check_fields` for a lower bound, which NaN is not above."""
    check_fields(config, f"at least {low}{hint}", lambda value: value >= low, *fields)


def missing(extra: str, what: str, kind: type[StillmotionError] = StillmotionError) -> StillmotionError:
    """Return the error that says how to install the packages of an extra, which `what` needs."""
    return kind(f"{what} needs packages that are not installed; pip install 'stillmotion[{extra}]'")


def printable(text: object) -> str:
    """Return a text as it can be printed anywhere: control characters and lone surrogates are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def one_line(text: object) -> str:
    """Return a text as one printable line, of a very long one the first and the last part."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= 4000 else f"{line[:2000]} ... {line[-1900:]}"
