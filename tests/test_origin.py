"""Where numbers come from: a command that a shell reads back, versions, a machine."""

import json
import shlex
import sys
from pathlib import Path

import av
import pytest
import torch

from stillmotion.origin import command, write_origin
from stillmotion.version import __version__


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["/x/bin/stillmotion", "train", "evl", "--data", "my videos"], "stillmotion train evl --data 'my videos'"),
        (["/x/stillmotion/__main__.py", "eval", "m"], "stillmotion eval m"),
        (["C/stillmotion.exe", "list"], "stillmotion list"),
        (["tune.py", "--lr", "1"], "python tune.py --lr 1"),
        ([""], "python"),
    ],
)
def test_commands(arguments: list[str], line: str) -> None:
    assert command(arguments) == line
    assert shlex.split(line)[1:][-len(arguments[1:]) or len(line) :] == arguments[1:]


def test_the_file(tmp_path: Path) -> None:
    write_origin(tmp_path / "origin.json")
    found = json.loads((tmp_path / "origin.json").read_text())
    assert found["versions"]["stillmotion"] == __version__
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["av"] == av.__version__
    assert found["versions"]["python"] == sys.version.split()[0]
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["cpu"]
    assert found["date"].endswith("+00:00")
