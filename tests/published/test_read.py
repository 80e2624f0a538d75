"""Choosing published numbers, what they cost, and the plot."""

from dataclasses import replace
from pathlib import Path

import pytest

from stillmotion.errors import StillmotionError
from stillmotion.published.counted import counted, method_of
from stillmotion.published.plot import write_plot
from stillmotion.published.read import dataset_of, published, read_numbers, select


def test_names_count_as_people_write_them() -> None:
    for data in ("UCF101", "ucf-101", "UCF"):
        for method in ("vificlip", "ViFi-CLIP"):
            (row,) = select(published(), dataset=data, setting="zero-shot", method=method, source="ViFi-CLIP, table 1")
            assert (row.value, row.spread, row.backbone) == (76.8, 0.7, "CLIP B/16")
    assert {r.method for r in select(published(), method="Open-VCLIP++")} == {"Open-VCLIP++"}
    assert {r.backbone for r in select(published(), backbone="l14@336", method="evl")} == {"CLIP L/14@336"}
    assert {r.value for r in select(published(), method="zero_shot", shots=0, dataset="ssv2")} == {2.7}


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(StillmotionError, match="'UCF102'; did you mean 'UCF-101'"):
        select(published(), dataset="UCF102")
    with pytest.raises(StillmotionError, match=r"method 'MoTE' with dataset 'k400'"):
        select(published(), dataset="k400", setting="supervised", method="MoTE")


def test_a_data_set_is_known_by_the_name_of_its_folder() -> None:
    assert dataset_of("data/hmdb51_val/lists.txt") == "HMDB-51"
    assert dataset_of("k400/ucf") is None
    assert dataset_of("my_videos") is None


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("method,value\nEVL,1\n")
    with pytest.raises(StillmotionError, match=r"a\.csv"):
        read_numbers(file)


def test_printed_costs_are_ours_within_what_section_by_section_counts_differ() -> None:
    """Papers' GFLOPs of a video against our count of the same configuration: within 3 %, 8 where a paper errs."""
    rows = [
        *select(published(), source="X-CLIP, table 1", metric="top-1", backbone="b32"),
        *select(published(), source="EVL, table 1", metric="top-1", backbone="b16", frames=8),
        *select(published(), source="ViFi-CLIP, table 4", metric="top-1", method="vificlip"),
    ]
    found = counted(rows)
    assert len(found) == len(rows) == 4
    for row in rows:
        assert found[row] == pytest.approx(row.gflops_per_video, rel=0.03)
    assert method_of(replace(rows[0], frames=None)) is None
    assert method_of(replace(rows[0], variant="another")) is None


def test_the_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = select(published(), source="EVL, table 1", metric="top-1")
    for end in (".png", ".svg", ".html"):
        write_plot(tmp_path / f"a{end}", rows, {rows[0]: 453.9}, "EVL")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<tr>") == len(rows) + 1
    assert "EVL, CLIP L/14@336" in page and "18,196" in page and ">454<" in page
    assert (tmp_path / "a.svg").read_text().count("EVL, CLIP") == 3
    with pytest.raises(StillmotionError, match=r"a\.gif: a plot is a file that ends in"):
        write_plot(tmp_path / "a.gif", rows, {}, "")
    with pytest.raises(StillmotionError, match="none of these numbers has a cost"):
        write_plot(tmp_path / "b.png", select(published(), method="OST", shots=2), {}, "")
    with pytest.raises(StillmotionError, match="one metric"):
        write_plot(tmp_path / "b.png", select(published(), method="EVL"), {}, "")
    assert not (tmp_path / "b.png").exists()
