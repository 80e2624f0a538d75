"""Several benchmark tables as one page: the means and bars of each, and where its own page is."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from stillmotion.report.bench_page import PAGE, PROTOCOLS, data_sets, figures, methods_of, named, overview
from stillmotion.report.page import facts, write_page
from stillmotion.report.tables import read_bench


def write_benches_page(page: Path, folders: Sequence[Path]) -> Path:
    """Write the page of several benchmarks, in the order given, and return its path.
    Raises `StillmotionError`: a folder holds no table, a file of it is damaged, or the disk is full.
    """
    parts = []
    for folder in folders:
        bench, own = read_bench(folder), folder / PAGE
        sets = data_sets(bench)
        link = quote(Path(os.path.relpath(own, page.parent)).as_posix()) if own.is_file() else ""
        parts.append(
            {
                "title": f"{bench.protocol}: {named(bench, sets)}",
                "about": PROTOCOLS.get(bench.protocol, ""),
                "overview": overview(bench, sets),
                "figures": figures(bench, methods_of(bench)),
                "link": link,
                "command": bench.origin.get("command", ""),
                "facts": facts(bench.origin),
            }
        )
    write_page(page, "benches", title=f"{len(parts)} benchmarks", parts_of_page=parts)
    return page
