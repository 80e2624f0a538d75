"""docs/checkpoints.md is what its script writes, and every command on it is one that we read."""

import importlib
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from stillmotion.cli.convert import read_options
from stillmotion.releases import RELEASES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("checkpoints_table")


def test_the_page_is_up_to_date(script: ModuleType) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run python benchmarks/checkpoints_table.py"


def test_every_command_is_understood(script: ModuleType) -> None:
    assert {release.method for release in script.RELEASES} == set(RELEASES)
    for release in script.RELEASES:
        for checkpoint in release.checkpoints:
            words = shlex.split(script.command(release, checkpoint))
            assert words[:2] == ["stillmotion", "convert"]
            options, _ = read_options(words[2:])
            assert options.checkpoint == Path(checkpoint.file or "FILE")
            assert (options.method, options.out, options.to) == (release.method, Path("OUT.safetensors"), None)
            # EVL's and ViFi-CLIP's files lack parts of CLIP
            assert (options.clip is not None) is (release.method in ("evl", "vificlip"))


def test_numbers_are_those_of_the_recipes(script: ModuleType) -> None:
    """What is on the page with a recipe of its own is one of that recipe's numbers too."""
    from stillmotion.recipes import RECIPES

    known = {"k400_vitb16_8f_dec4x768.pth": "evl_k400_b16_8f", "k400_16_16.pth": "xclip_k400_b16_16f"}
    known |= {"k600_16_8.pth": "xclip_k600_b16_8f", "zero.pth": "xclip_zero_shot", "few_ucf_4.pth": "xclip_few_shot"}
    known |= {"vifi_clip_10_epochs_k400_full_finetuned.pth": "vificlip_zero_shot"}
    found = {c.file: c.published for release in script.RELEASES for c in release.checkpoints if c.file}
    for file, recipe in known.items():
        numbers = {
            float(word.strip(",")) for word in found[file].split(" (")[0].replace("/", " ").split() if word[0].isdigit()
        }
        assert numbers and numbers <= {number.value for number in RECIPES[recipe]().published}, file
