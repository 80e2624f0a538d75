"""The exceptions that stillmotion raises for what a user can mend.

    ValueError
    └── StillmotionError      a bad value: the message holds the value, the rule and the fix, on one line
        ├── VideoError        a file that cannot be read as a video
        ├── DataError         a data set, list file or label that does not hold together
        ├── WeightsError      weights that cannot be found, read or matched with a model
        └── DiskError         no room, or no right, to write

The command line prints the message and exits with code 2; everything else is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class StillmotionError(ValueError):
    """Base of every error that the user can mend."""


class VideoError(StillmotionError):
    """A file cannot be read as a video."""


class DataError(StillmotionError):
    """A data set, list file or label does not hold together."""


class WeightsError(StillmotionError):
    """Weights cannot be found, read or matched with a model."""


class DiskError(StillmotionError):
    """There is no room, or no right, to write."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, else `; choose from a, b, c`."""
    choices = sorted(known)
    near = difflib.get_close_matches(word.lower(), [c.lower() for c in choices], n=1, cutoff=0.5)
    if near:
        match = next(c for c in choices if c.lower() == near[0])
        return f"; did you mean {match!r}?"
    return f"; choose from {', '.join(choices)}" if choices else ""


def at_least(low: int, config: object, *fields: str, hint: str = "") -> None:
    """Check fields of a dataclass, by name.

    Raises:
        StillmotionError: one is set and below the bound, or no number.
    """
    for field in fields:
        value = getattr(config, field)
        if value is not None and not value >= low:  # nan is not
            raise StillmotionError(f"{field.replace('_', '-')} is {value}; it must be at least {low}{hint}")


def missing(extra: str, what: str, kind: type[StillmotionError] = StillmotionError) -> StillmotionError:
    """Return the error that says how to install the packages of an extra, which `what` needs."""
    return kind(f"{what} needs packages that are not installed; pip install 'stillmotion[{extra}]'")


def printable(text: object) -> str:
    """Return a text as it can be printed anywhere: control characters and lone surrogates are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def one_line(text: object) -> str:
    """Return a text as one printable line."""
    return printable(" ".join(str(text).split()))
