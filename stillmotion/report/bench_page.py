"""A benchmark's table as a page."""

from pathlib import Path


def write_bench_page(folder: Path) -> Path:
    """Write the page of a finished benchmark; returns where it is."""
    raise NotImplementedError
