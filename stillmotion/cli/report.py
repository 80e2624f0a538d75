"""`stillmotion report RUN...`: the page of a run or a benchmark, or of several runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write the page of a finished run or benchmark again, or compare several runs on one page."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs of train or eval, or of bench; where a training and an evaluation are in one folder
    and are to be compared with others, the file predictions.jsonl or eval_predictions.jsonl."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The page; None: report.html (of an evaluation eval_report.html) in a run's folder, compare.html here for
    several."""


def run(words: Sequence[str]) -> None:
    """Write the page, and print where it is."""
    options: Report = parse(Report, words, "stillmotion report")
    if not options.runs:
        raise StillmotionError("there are no runs; name their folders: stillmotion report runs/evl")
    from stillmotion.report.run_page import write_run_page
    from stillmotion.report.runs import read_run, read_runs
    from stillmotion.report.tables import is_bench

    if len(options.runs) == 1:
        one = options.runs[0]
        if is_bench(one):
            from stillmotion.report.bench_page import write_bench_page

            print(write_bench_page(one, options.out))
            return
        found = read_runs(one, several=True) if options.out is None else [read_run(one, several=True)]
        for each in found:
            print(write_run_page(each, page=options.out))
        return
    page = options.out or Path("compare.html")
    if benches := [path for path in options.runs if is_bench(path)]:
        if other := [path for path in options.runs if path not in benches]:
            raise StillmotionError(f"{benches[0]} is a benchmark and {other[0]} is none; a page is of one kind")
        from stillmotion.report.benches_page import write_benches_page

        print(write_benches_page(page, benches))
        return
    from stillmotion.report.compare_page import write_comparison

    write_comparison(page, [read_run(path) for path in options.runs])
    print(page)
