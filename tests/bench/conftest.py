"""Clips that the tests of benchmarks share, and one cache for all, which no number depends on."""

from pathlib import Path

import pytest

from tests.bench.small import write_clips


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("bench") / "clips")


@pytest.fixture(autouse=True)
def one_cache(monkeypatch: pytest.MonkeyPatch, clips: Path) -> None:
    monkeypatch.setenv("STILLMOTION_CACHE", str(clips.parent / "cache"))
