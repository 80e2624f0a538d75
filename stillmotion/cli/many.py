"""Go through the videos that a command names, show what becomes of each, and keep it in a file."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from stillmotion.cli.model_choice import ModelChoice
from stillmotion.errors import StillmotionError, at_least
from stillmotion.progress import say

if TYPE_CHECKING:
    from stillmotion.cli.results import Form, Results, Row
    from stillmotion.data.many import Outcome

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ManyVideos(ModelChoice):
    """A model, and videos for it."""

    videos: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Video files; folders, which are searched; globs in quotes ('clips/**/*.mp4'); lists of paths (.txt, .csv, .tsv,
    .jsonl); or manifests of `data prepare`."""
    split: str | None = None
    """Of a manifest: the split to read (test, train), or the number of an official one (2, 2:train); None: all."""
    batch_views: int = 8
    """Views in one forward pass, of one or several videos."""
    workers: int | None = None
    """Processes that decode; None: 0 on a CPU, 8 with a GPU."""
    overwrite: bool = False
    """Throw away what an earlier command left in --out."""

    def __post_init__(self) -> None:
        at_least(1, self, "batch_views")
        at_least(0, self, "workers", hint=", or left out")

    def paths(self, command: str) -> list[str]:
        """The videos. Raises `StillmotionError`: none, or a folder, a glob or a list without any."""
        from stillmotion.data.find import find_videos

        if not self.videos:
            raise StillmotionError(f"there are no videos; name some: stillmotion {command} {self.model} surf.mp4")
        found = find_videos(self.videos, self.split)
        if found != [*self.videos]:
            say(f"{len(found)} video{'s' * (len(found) != 1)} in {', '.join(self.videos)}")
        return found


def go_through(
    paths: Sequence[str],
    run: Callable[[Sequence[str]], Iterator["Outcome[T]"]],
    row: Callable[[T], "Row"],
    show: Callable[[str, T | StillmotionError], None],
    results: "Results | None" = None,
) -> None:
    """Show what becomes of each video; with `results`, keep it there and leave out those that have one.
    Raises `StillmotionError`: some videos failed, after all others are done and every failure was named.

    Args:
        run: `Classifier.predict` or `embeddings`.
        row: what is kept of a value.
        show: prints a value, or an error.
    """
    todo = paths
    if results is not None:
        todo = [path for path in dict.fromkeys(paths) if results.lacks(path)]
        done = len(dict.fromkeys(paths)) - len(todo)
        if done:
            say(f"{done} of {done + len(todo)} videos are in {results.path if not results.added else results.partial}")
    failed: list[StillmotionError] = []
    with contextlib.closing(results) if results is not None else contextlib.nullcontext():
        for outcome in run(todo) if todo else ():
            path: Any = outcome.video
            result = outcome.get() if outcome.error is None else outcome.error
            if isinstance(result, StillmotionError):
                failed.append(result)
                if len(paths) > 1:
                    say(f"error: {result}")
            if results is not None:
                results.add({"path": path} | ({"error": str(result)} if outcome.error else row(outcome.get())))
            show(path, result)
        if results is not None:
            results.finish(paths)
            print(results.path)
    if failed and len(paths) == 1:
        raise failed[0]
    if failed:
        where = f", named above and in {results.path}" if results is not None else ", named above"
        raise StillmotionError(f"{len(failed)} of {len(paths)} videos failed{where}")


def open_results(
    out: Path, forms: "Mapping[str, Form]", classifier: Any, classes: bool, choice: ManyVideos
) -> "Results":
    """The file of a command's results, by the identity of its model."""
    from stillmotion.cli.results import Results, identity
    from stillmotion.files import sha256

    text = None if choice.text_features is None or not classes else sha256(choice.text_features)
    named = (choice.clean_names, text) if classes else ()
    return Results(out, forms, identity(classifier, classes, *named), choice.overwrite)
