"""Run a benchmark: fill its cells group by group, write the table; go on where it was."""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

from stillmotion.bench.cells import Unit
from stillmotion.bench.options import Bench, Protocol
from stillmotion.bench.table import Json, summary
from stillmotion.bench.work import Work
from stillmotion.files import sweep, write_json
from stillmotion.origin import origin
from stillmotion.progress import is_main_process, say
from stillmotion.training.run_folder import RunFolder

DECISIVE = ("preset", "clean_names", "drop_last", "allow_overlap", "max_bad")
"""Options that decide numbers beside what is trained and on which clips, which are compared by content."""


@dataclass(frozen=True)
class Table:
    """A finished benchmark: its rows, and what they come to (see `stillmotion.bench.table`)."""

    protocol: Protocol
    rows: list[Json]

    def to_dict(self) -> Json:
        """As in table.json."""
        return {"protocol": self.protocol, "rows": self.rows, "summary": summary(self.rows)}


def run(protocol: Protocol, options: Bench, units: Sequence[Unit]) -> Table:
    """Fill all cells, and write `table.json` after every group of models that train on the same clips.
    Raises `StillmotionError`: anything that the user can mend; `Stopped`: a signal asked to stop; the same call goes on
    from there, with the same numbers.
    """
    work = Work(options)
    chosen = {name: getattr(options, name) for name in DECISIVE}
    config = {"protocol": protocol, "options": chosen, **work.describe(units)}
    defaults = work.defaults(units)
    with closing(RunFolder(options.out / "cells", config, options.overwrite, True, defaults)) as folder:
        if not folder.metrics.is_file():
            folder.log(step=0, protocol=protocol)  # now it is begun, and goes on with the same settings alone
        if options.overwrite:
            work.clear()
        if is_main_process():
            for place in (options.out, options.out / "splits", *(options.out / "cells").glob("*/")):
                sweep(place.glob(".*.tmp"), seconds=-math.inf)  # left by a killed process, for no other writes here now
            write_json(options.out / "origin.json", origin() | {"data": [str(path) for path in options.data]})
        rows: list[Json] = []
        cells = sum(len(unit.tests) for unit in units)
        for _, group in groupby(units, key=lambda unit: id(unit.train)):
            rows += work.fill([work.ready(unit) for unit in group])
            say(f"{len(rows)} of {cells} cells are done")
            if is_main_process():
                write_json(options.out / "table.json", Table(protocol, rows).to_dict())
    return Table(protocol, rows)
