"""A benchmark's page: what it says, what it leaves out, and where its links lead."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from stillmotion.bench.cells import Cell
from stillmotion.bench.table import cannot, summary
from stillmotion.cli import main
from stillmotion.report.bench_page import cells, data_set, overview, write_bench_page
from stillmotion.report.beside import beside, same_method
from stillmotion.report.figures import Level, bars_figure
from stillmotion.report.switches import differing
from stillmotion.report.tables import is_bench, read_bench


def write_bench(
    folder: Path, protocol: str, found: list[tuple[Cell, float | None]], classes: int = 51, data: str = "hmdb51"
) -> Path:
    """What a benchmark leaves, with these accuracies."""
    rows = []
    (folder / "splits").mkdir(parents=True)
    for cell, top1 in found:
        place = folder / "cells" / cell.name
        place.mkdir(parents=True)
        numbers = {"top1": top1, "top5": 0.987, "mean_class": top1, "interval": [0.3, 0.7], "videos": 20, "skipped": 1}
        row = {"method": cell.method, "cell": cell.keys(), **numbers, "seconds": 61.0, "peak_memory_mb": 1234.0}
        row = cannot(cell, "its head knows no others") if top1 is None else row
        rows.append(row)
        method = cell.method.split("_k400")[0]
        config = {"recipe": {"method": {"name": method}, "train": {"lr": 1e-3 if method == "evl" else 2e-3, "seed": 0}},
                  "data": {"data": f"somewhere/{cell.name}.jsonl"}}  # fmt: skip
        (place / "cell.json").write_text(json.dumps(row))
        if top1 is not None:
            (place / "config.json").write_text(json.dumps(config))
            (place / "results.json").write_text(json.dumps({"classes": [{}] * classes}))
            header = {"stillmotion": "manifest/1", "dataset": data}
            (folder / "splits" / f"{cell.name}.jsonl").write_text(json.dumps(header) + "\n")
    content = {"protocol": protocol, "rows": rows, "summary": summary(rows)}
    (folder / "table.json").write_text(json.dumps(content))
    (folder / "cells" / "config.json").write_text(json.dumps({"options": {"preset": "strict", "drop_last": None}}))
    origin = {"command": f"stillmotion bench {protocol}", "data": ["lists/my_clips.txt"]}
    (folder / "origin.json").write_text(json.dumps(origin))
    return folder


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.links = list[str](), list[str]()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if tag == "a" and name == "href"]


def read(page: Path) -> Text:
    text = Text()
    text.feed(page.read_text(encoding="utf-8"))
    return text


def few(*tops: tuple[str, int, int, float | None]) -> list[tuple[Cell, float | None]]:
    return [(Cell(method=m, shots=K, seed=seed), top1) for m, K, seed, top1 in tops]


def test_what_it_says(tmp_path: Path) -> None:
    folder = write_bench(tmp_path / "b", "few-shot", few(
        ("vificlip", 2, 0, 0.5), ("vificlip", 2, 1, 0.6),
        ("evl_k400_b16_8f", 2, 0, None), ("evl_k400_b16_8f", 2, 1, None),
    ))  # fmt: skip
    text = read(write_bench_page(folder))
    words = " ".join(" ".join(text.words).split())
    assert "few-shot: vificlip, evl_k400_b16_8f on HMDB-51" in words
    assert "55.0 %" in words and "7.1" in words, "mean and deviation"
    assert "evl_k400_b16_8f has cells that it cannot fill: its head knows no others" in words
    assert "57.2 %" in words and "ViFi-CLIP, table 3" in words, "printed for HMDB-51 and K = 2"
    assert "98.7 %" in words and "20 (1 unreadable)" in words and "1,234 MB" in words
    assert "preset strict" in words and "stillmotion bench few-shot" in words and "drop-last" not in words
    assert sorted(text.links)[0].startswith("cells/") and len(text.links) == 2 * 3 + 2 * 1
    assert all((folder / unquote(link)).is_file() for link in text.links)


def test_links_lead_from_where_the_page_is(tmp_path: Path) -> None:
    folder = write_bench(tmp_path / "a b", "supervised", [(Cell(method="x y", seed=0), 0.5)])
    (tmp_path / "pages").mkdir()
    page = write_bench_page(folder, tmp_path / "pages" / "one.html")
    links = read(page).links
    assert len(links) == 3 and all((page.parent / unquote(link)).is_file() for link in links)


def test_no_top5_of_five_classes_or_fewer(tmp_path: Path) -> None:
    for count, shown in ((5, False), (6, True)):
        folder = write_bench(tmp_path / str(count), "supervised", [(Cell(method="evl", seed=0), 0.5)], count)
        text = " ".join(read(write_bench_page(folder)).words)
        assert ("98.7 %" in text) == shown
        assert ("top-5" in cells(read_bench(folder), folder / "report.html").header) == shown


def test_own_data_has_nothing_printed(tmp_path: Path) -> None:
    folder = write_bench(tmp_path / "b", "supervised", [(Cell(method="evl", seed=0), 0.5)], data="folder")
    words = " ".join(" ".join(read(write_bench_page(folder)).words).split())
    assert "none of the data sets that papers report" in words and "on my_clips" in words
    assert "published" not in overview(read_bench(folder), {None: None}).header


def test_the_data_set_by_manifest_then_by_name(tmp_path: Path) -> None:
    one = [(Cell(method="evl", seed=0), 0.5)]
    bench = read_bench(write_bench(tmp_path / "a", "supervised", one, data="kinetics400"))
    assert data_set(bench, bench.summary[0]) == "Kinetics-400"
    found = [(Cell(method="zero_shot", seed=0, split=f"ucf101.{s}"), 0.5) for s in (1, 2, 3)]
    bench = read_bench(write_bench(tmp_path / "b", "zero-shot", found, data="folder"))
    (line,) = bench.summary
    assert (line["set"], data_set(bench, line), len(bench.of(line))) == ("ucf101", "UCF-101", 3)


def test_published_rows_are_of_the_same_protocol_set_and_shots(tmp_path: Path) -> None:
    found = [(Cell(method="vificlip", shots=16, seed=0, part=part), 0.5) for part in ("base", "novel")]
    bench = read_bench(write_bench(tmp_path / "b", "base-to-novel", found))
    one = beside(bench, None, "HMDB-51", ["vificlip"])
    assert one.table.header[:6] == ("method", "backbone", "K", "base", "novel", "HM")
    assert one.table.rows[0][0] == "ViFi-CLIP", "those of the methods first"
    assert {row[2] for row in one.table.rows} == {"16", "\N{EN DASH}"}, "of 16 clips, or unsaid"
    base, novel, hm = (float(str(x).split()[0]) for x in one.table.rows[0][3:6])
    assert hm == pytest.approx(2 * base * novel / (base + novel), abs=0.06), "one row has the numbers of one model"
    assert same_method("base-to-novel", bench.summary[0], "HMDB-51", "vificlip") is not None
    assert same_method("base-to-novel", bench.summary[0], "HMDB-51", "my own") is None
    assert not beside(bench, None, "Charades", ["vificlip"]).table.rows


def test_settings_that_differ(tmp_path: Path) -> None:
    found = [(Cell(method=name, seed=0), 0.5) for name in ("evl", "step", "xclip")]
    table = differing(read_bench(write_bench(tmp_path / "b", "supervised", found)), ["evl", "step", "xclip"])
    assert table.header == ("setting", "evl", "step", "xclip")
    assert table.rows == [("method", "evl", "step", "xclip"), ("lr", "0.001", "0.002", "0.002")]


def test_names_cannot_break_a_figure() -> None:
    level = Level(name=r"$\frac{<b>", height=0.5, interval=(0.25, 0.75), points=(0.4, 0.6))
    svg = bars_figure('a "set" <x>', [level, Level(name="other", height=None, text="cannot")], ["#0072B2", "#D55E00"])
    assert 'aria-label="a &quot;set&quot; &lt;x&gt;"' in svg and "<b>" not in svg and "<x>" not in svg
    assert "cannot" in svg and "50.0" in svg and "currentColor" in svg
    assert not re.search(r"\sid=\"\w+_\d+\"", svg)


def test_report_writes_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_bench(tmp_path / "b", "supervised", [(Cell(method="evl", seed=0), 0.5)])
    assert is_bench(folder) and not is_bench(tmp_path)
    main(["report", str(folder)])
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    first = (folder / "report.html").read_bytes()
    main(["report", str(folder), "-o", str(folder / "again.html")])
    assert (folder / "again.html").read_bytes() == first


def test_several_are_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few_shot = write_bench(tmp_path / "b", "few-shot", few(("evl", 2, 0, 0.5), ("step", 2, 0, 0.25)))
    whole = write_bench(tmp_path / "c", "supervised", [(Cell(method="evl", seed=0), 0.75)])
    main(["report", str(few_shot)])
    page = tmp_path / "pages" / "all.html"
    capsys.readouterr()
    main(["report", str(whole), str(few_shot), "-o", str(page)])
    assert capsys.readouterr().out.strip() == str(page)
    text = read(page)
    words = " ".join(" ".join(text.words).split())
    assert words.index("supervised: HMDB-51") < words.index("few-shot: HMDB-51")
    assert "75.0 %" in words and "25.0 %" in words and "stillmotion bench few-shot" in words
    assert [(page.parent / link).resolve() for link in text.links] == [few_shot / "report.html"], "the other has none"
    (tmp_path / "run").mkdir()
    with pytest.raises(SystemExit):
        main(["report", str(whole), str(tmp_path / "run")])
    assert "is a benchmark and" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "[1]", "{", '{"rows": [{}], "summary": [], "protocol": "x"}'])
def test_a_damaged_table_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["report", str(tmp_path)])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1 and not (tmp_path / "report.html").exists()
