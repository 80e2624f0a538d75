"""docs/parity.md: the figures recomputed from the official code come out again, and the page is what is counted now."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stillmotion.count import Counts
from stillmotion.methods import METHODS

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parity() -> Iterator[ModuleType]:
    """The script; what it has counted is kept from test to test."""
    import importlib
    import sys

    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("parity")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def printed(value: float, digits: str) -> str:
    """A value with as many decimals as these digits have."""
    return f"{value:.{len(digits.partition('.')[2])}f}"


# Counted from the official code: name, GMAC a view and new parameters in millions, without and with T-CA.
OFFICIAL = (
    ("K400 B/16 8f", "147.99", "151.29", "28.704", "33.183"),
    ("K400 B/16 16f", "295.95", "303.04", "", ""),
    ("K400 B/16 32f", "591.88", "606.52", "28.778", "33.257"),
    ("K400 B/16 8f, 1 layer", "142.38", "143.20", "7.409", "8.528"),
    ("K400 L/14 8f", "665.43", "672.94", "50.86", "58.73"),
    ("K400 L/14 32f", "2661.6", "2694.9", "", ""),
    ("K400 L/14@336 32f", "6266", "6434.5", "", ""),
    ("SSv2 B/16 8f, 12 layers", "162.96", "172.87", "", "98.76"),
    ("SSv2 L/14 8f, 24 layers", "752.1", "797.2", "", "350.1"),
    ("SSv2 L/14@336 32f, 24 layers", "7042.5", "8053.6", "", "412"),
)


@pytest.mark.parametrize("figures", OFFICIAL, ids=lambda f: f[0])
def test_evl_to_the_last_printed_digit(parity: ModuleType, figures: tuple[str, ...]) -> None:
    name, *work, bare, full = figures
    row = next(row for row in parity.EVL_ROWS if row.name == name)
    for cross, gmac, millions in ((False, work[0], bare), (True, work[1], full)):
        counts: Counts = parity.evl(row, cross)
        assert printed(counts.video.plain_macs / 1e9, gmac) == gmac
        if millions:
            assert printed(counts.total.new / 1e6, millions) == millions
        assert counts.total.new == counts.total.trained


def test_the_others_to_the_last_printed_digit(parity: ModuleType) -> None:
    found = {row.name: row.value() for row in parity.WORK_ROWS if "L/14" not in row.name}
    official = {"X-CLIP B/32 8f": "38.2", "X-CLIP B/16 8f": "144.2", "X-CLIP B/16 16f": "285.9"}
    official |= {"X-CLIP B/16 32f": "569.4", "ViFi-CLIP B/16 16f, 10 prompts": "295.8", "ViFi-CLIP B/16 16f": "281.0"}
    official |= {"ActionCLIP B/16 32f": "562.64", "text tower B/16, one class": "2.98"}
    assert {name: printed(float(found[name][0]), digits) for name, digits in official.items()} == official
    sizes = {row.name: int(row.value()[0].replace(",", "")) for row in parity.PARAMETER_ROWS}
    assert sizes["ViFi-CLIP, trained"] == 124_323_841
    assert sizes["X-CLIP, trained"] == 121_646_592 + 3_156_480 + 6_303_232 + 394_752
    assert sizes["ActionCLIP, all"] == 149_620_737 + 18_953_728
    exact = ("A5, trained", "A6, trained", "prompts, few-shot", "prompts, base-to-novel")
    exact += ("image tower tuned alone", "text tower tuned alone")
    published = {row.name: row.published for row in parity.PARAMETER_ROWS}
    assert all(f"{sizes[name]:,}" == published[name] for name in exact)
    assert sizes["EVL's frozen tower"] + 768 == 85_798_656


def in_page(cells: list[str]) -> bool:
    return "| " + " | ".join(cells) + " |" in PAGE


def test_the_page_is_what_the_script_counts(parity: ModuleType) -> None:
    """Line by line; L/14 and all other methods at 16 frames are left out, which take as long again."""
    for row in parity.EVL_ROWS:
        if row.clip == parity.B16 or row.name == "K400 L/14 8f":
            assert in_page(parity.evl_work(row)) and in_page(parity.evl_parameters(row)), row.name
    for row in parity.WORK_ROWS:
        assert "L/14" in row.name or in_page(parity.work_line(row)), row.name
    for row in parity.PARAMETER_ROWS:
        assert in_page(parity.parameter_line(row)), row.name
    for proof in parity.PROOFS:
        assert in_page(parity.proof_line(proof)), proof
    for text in ("INTRO", "EVL_WORK", "OTHER_WORK", "EVL_PARAMETERS", "OTHER_PARAMETERS", "LIKE_FOR_LIKE", "OUTPUTS"):
        assert getattr(parity, text) in PAGE


def test_the_page_has_every_row_and_no_other(parity: ModuleType) -> None:
    tables = [block.splitlines() for block in PAGE.split("\n\n") if block.startswith("|")]
    rows = (parity.EVL_ROWS, parity.WORK_ROWS, parity.EVL_ROWS, parity.PARAMETER_ROWS, parity.LIKE_ROWS, parity.PROOFS)
    assert [len(lines) - 2 for lines in tables] == [len(kind) for kind in rows]
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1
    for lines, kind in zip(tables[:4], rows):
        assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == [row.name for row in kind]


def test_published_numbers_are_near_what_they_are_explained_by(parity: ModuleType) -> None:
    for row in parity.EVL_ROWS:
        if row.work and row.clip == parity.B16:
            cross = "with T-CA" in row.why
            off = float(row.work) / (parity.VIEWS * parity.evl(row, cross).video.plain_macs / 1e9) - 1
            other = float(row.work) / (parity.VIEWS * parity.evl(row, not cross).video.plain_macs / 1e9) - 1
            assert abs(off) < 0.02 and abs(off) < abs(other), row.name
    assert abs(8088 * (336 / 224) ** 2 / 18196 - 1) < 2e-4


def sources(path: Path, name: str) -> str:
    """A test and the functions of the tests that it calls, as text."""
    functions: dict[str, str] = {}
    calls: dict[str, set[str]] = {}
    for file in (path, TESTS / "methods" / "golden_clip.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name not in functions:
                functions[node.name] = ast.get_source_segment(text, node) or ""
                calls[node.name] = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    assert name in functions, f"{path} has no {name}"
    return functions[name] + "".join(functions[called] for called in calls[name] & functions.keys())


def test_proofs_are_tests_with_these_tolerances(parity: ModuleType) -> None:
    proofs: tuple[Any, ...] = parity.PROOFS
    for proof in proofs:
        assert f"<= {proof.tolerance}" in sources(TESTS / proof.file, proof.test), proof
    assert {proof.method.split(",")[0] for proof in proofs} - {"towers"} == set(METHODS)
