"""The code of docs/data.md runs, and gives what it says."""

import re
from pathlib import Path

import pytest

from stillmotion.data.entries import read_listing
from tests.datasets import layouts

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    layouts.ucf101(tmp_path / "UCF")
    for k, label in enumerate(("sit", "stand")):
        for i in range(10):
            layouts.clip(tmp_path / "my_videos" / label / f"source{label}{i // 2}_{i}.mp4", 10 * k + i)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert "prepared.listing)" in code and "7 clips" not in code
    # The small copy of UCF-101 has clips of two of its 101 classes, too few to halve: other clips stand in for it.
    exec(code.replace("prepared.listing)", "datasets.fractions(datasets.open_source('my_videos'), (0.6, 0.4)))"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "7 clips, 1 missing" and "classes without a clip in a split" in printed[1]
    mine, base = read_listing(tmp_path / "mine.jsonl"), read_listing(tmp_path / "base_4.jsonl")
    assert {e.split for e in mine.entries} == {"train", "val", "test"}
    assert len({(e.source, e.split) for e in mine.entries}) == 10, "five sources of each class"
    assert base.header.classes == ("stand",) and sum(e.split == "train" for e in base.entries) == 4


def test_every_option_of_the_page_is_one() -> None:
    from stillmotion.cli import data

    known = {name for kind in (data.Prepare, data.Audit, data.Split) for name in kind.__dataclass_fields__}
    known |= {"split", "clean_names", "data"}  # of train, eval and predict
    text = PAGE.read_text(encoding="utf-8")
    used = {word.replace("-", "_") for word in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)}
    assert used <= known, used - known
