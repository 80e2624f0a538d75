"""A script in two processes, as a launcher starts them.

`accelerate launch --cpu --num_processes 2` starts one process and says nothing (accelerate 1.15): its launcher knows
several processes on GPUs, TPUs and MPI alone. So they are started here, with what a launcher tells each.
"""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST = (
    "import sys; from accelerate import PartialState; state = PartialState(cpu=True); "
    "assert state.num_processes == 2, state; import runpy; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run_two(script: Path, *arguments: Path | str, seconds: float = 240, sharded: bool = False) -> None:
    """Run a script twice, as processes 0 and 1 of 2 on the CPU, and fail with what the first bad one said.

    `sharded` is what `accelerate launch --use_fsdp --fsdp_version 2` with blocks for units tells them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if sharded:
        shared |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
        shared |= {"FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
    command = [sys.executable, "-c", FIRST, str(script), *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / f"{rank}.txt" for rank in (0, 1)]
        running = []
        for rank, log in enumerate(logs):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            with log.open("w") as file:
                environment = {**os.environ, **shared, **own}
                running.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment))
        try:
            codes = [process.wait(timeout=seconds) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
        assert codes == [0, 0], "\n".join(log.read_text()[-3000:] for log in logs)
