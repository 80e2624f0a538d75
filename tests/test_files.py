"""Files appear whole, may be read by whom the umask allows, and leave nothing beside them for ever."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stillmotion.errors import DiskError
from stillmotion.files import atomic_folder, atomic_write, sweep, write_json

KILLED = """
import os, signal, sys
from pathlib import Path
from stillmotion.files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    temporary.with_name(".tmpAbC123").write_text("as safetensors does")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_are_as_private_as_the_umask_says(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "a.safetensors") as temporary:
            save_file({"a": torch.ones(2)}, temporary)  # which makes files private
        write_json(tmp_path / "b.json", 1)
        with atomic_folder(tmp_path / "c") as temporary:
            (temporary / "d").touch()
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a.safetensors", "b.json", "c")]
    assert modes == [0o666 & ~mask, 0o666 & ~mask, 0o777 & ~mask]
    assert {p.name for p in tmp_path.iterdir()} == {"a.safetensors", "b.json", "c"}


def test_all_that_a_killed_writer_left_is_in_one_place(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.json")], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    write_json(tmp_path / "a.json", 1)
    assert left.exists(), "another process may be writing there"
    os.utime(left, (1e9, 1e9))
    write_json(tmp_path / "a.json", 2)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_tidied_hides_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that becomes read-only refuses the removal of the half file, too."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with pytest.raises(DiskError, match=r"no right to write .*a\.json; choose another folder"):
        with atomic_write(tmp_path / "a.json") as temporary:
            temporary.write_text("half")
            monkeypatch.setattr(Path, "unlink", refuse)
            monkeypatch.setattr(os, "unlink", refuse)
            refuse()
    monkeypatch.undo()
    sweep(tmp_path.iterdir(), seconds=-1e9)
    assert not list(tmp_path.iterdir())
