"""Where numbers come from: the command, the versions and the machine that made them."""

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import torch

from stillmotion.files import write_json
from stillmotion.version import __version__

Json = dict[str, Any]


def origin() -> Json:
    """The command of this process, versions, machine and time (UTC, ISO 8601), JSON-ready."""
    return {
        "command": command(sys.argv),
        "versions": {
            "stillmotion": __version__,
            "torch": torch.__version__,
            "av": av.__version__,
            "python": platform.python_version(),
        },
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_origin(path: Path) -> None:
    """Write `origin()` beside what this process makes. Raises `DiskError`: the file cannot be written."""
    write_json(path, origin())


def command(arguments: list[str]) -> str:
    """The command line of a process, quoted so that a shell reads it back; a shell's `stillmotion` stands for ours."""
    program, rest = Path(arguments[0] if arguments else ""), arguments[1:]
    if program.stem == "stillmotion" or program.parts[-2:] == ("stillmotion", "__main__.py"):
        return shlex.join(["stillmotion", *rest])
    return shlex.join(["python", *([str(program)] if program.name else []), *rest])


def machine() -> Json:
    """The processor's name and how many of its cores this process may use, the GPUs, and the system."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return {"cpu": cpu_name(), "cores": cores, "gpus": gpus, "system": f"{platform.system()} {platform.machine()}"}


def cpu_name() -> str:
    """The processor's name, where the system tells one, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named or [platform.processor() or platform.machine()])[0]
