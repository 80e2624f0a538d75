"""Integers give what float32 gives, by the formula; a product that ends a process ends a copy of it alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.runtimes import RUNTIMES, in_openvino, probe
from stillmotion.backbones.runtimes.in_openvino import there
from stillmotion.backbones.runtimes.integers import KEPT, IntegerLinear
from stillmotion.backbones.weights import Weights, image_tower
from stillmotion.errors import StillmotionError
from stillmotion.models.features import Reads

CPU, READS = torch.device("cpu"), Reads(frames=True, out=(0, -1), affinity=(-1,))
needs_integers = pytest.mark.skipif(not probe.runs("int8"), reason="this machine cannot run 8-bit products")


@pytest.fixture(scope="module")
def weights(tiny_clip: Path) -> Weights:
    return load_backbone(str(tiny_clip))


def by_the_formula(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """In float64, token by token: rounded weights times rounded inputs, and a frame's largest channels as they are."""
    x, weight = x.double(), weight.double()
    step_N = weight.abs().amax(1) / 127
    rounded = (weight / step_N[:, None]).round() * step_N[:, None]
    kept = x.abs().amax(0).topk(KEPT).indices.tolist()
    rest = [k for k in range(x.shape[1]) if k not in kept]
    rows = []
    for token in x:
        high, low = max(0, token[rest].max()), min(0, token[rest].min())  # the kept ones count as zeros
        step, middle = (high - low) / 254, (high + low) / 2
        integers = ((token[rest] - middle) / step).round()
        rows.append(
            rounded[:, rest] @ (integers * step + middle)
            + weight[:, kept] @ (token[kept] - middle)
            + rounded[:, kept].sum(1) * middle
            + bias
        )
    return torch.stack(rows)


@needs_integers
@pytest.mark.parametrize("skewed", [False, True])
def test_integers_by_the_formula(skewed: bool) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(3, 100, 96), torch.randn(800, 96) / 10, torch.randn(800)
    x = F.silu(x) if skewed else x
    x[0, :, [3, 50]] *= 40
    x[1, 7] *= 30
    layer = IntegerLinear(weight, bias)
    found = layer(x).double()
    expected = torch.stack([by_the_formula(frame, weight, bias) for frame in x])
    assert found.shape == (3, 100, 800)
    # A value in the middle of two integers may fall to either side, which moves a token's sums by one step.
    near = (found - expected).abs() < 1e-4 * expected.abs().clamp_min(1)
    assert near.double().mean() > 0.97
    exact = F.linear(x, weight, bias)
    errors = (found - exact).norm(dim=-1) / (exact - bias).norm(dim=-1)
    assert 0 < errors.median() < 0.015 and errors.max() < 0.03


@needs_integers
def test_weights_that_are_integers_are_not_rounded_again() -> None:
    torch.manual_seed(0)
    integers, steps = torch.randint(-127, 128, (64, 72)), torch.rand(64, 1)
    integers[:, 0] = 127
    layer = IntegerLinear(integers * steps, None)
    assert torch.equal(torch.cat(layer.matrices_Kn, 1).t().int(), integers.int())


@needs_integers
def test_a_tower_in_integers_is_near_float32(weights: Weights) -> None:
    torch.manual_seed(0)
    video = torch.randn(2, 4, 3, 32, 32) * torch.tensor([1.0, 4.0]).view(2, 1, 1, 1, 1)
    exact = RUNTIMES["fp32"](image_tower(weights, READS), CPU)(video)
    run = RUNTIMES["int8"](image_tower(weights, READS), CPU)
    found = run(video)
    assert list(found) == list(exact)
    for name in ("frames", "out.0", "out.2"):
        cosine = F.cosine_similarity(found[name], exact[name], dim=-1)
        assert cosine.mean() > 0.999
        assert not torch.equal(found[name], exact[name])
    assert (found["affinity.2"] - exact["affinity.2"]).abs().max() < 0.01
    alone, beside = run(video[1:, 2:3])["frames"][0, 0], found["frames"][1, 2]
    error = (beside - exact["frames"][1, 2]).norm()
    assert (alone - beside).norm() < error / 5, "its steps depend on what it is computed beside"


@pytest.mark.skipif(not there(), reason="openvino is not installed")
def test_openvino_is_near_float32() -> None:
    """In a process of its own: on one virtual machine a signal ended a process in which OpenVINO had run."""
    done = subprocess.run([sys.executable, "-m", "tests.backbones.in_openvino_alone"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["plain", "siglip2", "clip"]


def test_without_its_package_openvino_says_what_to_install(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[in_openvino.__module__], "there", lambda: False)
    with pytest.raises(StillmotionError, match=r"pip install 'stillmotion\[openvino\]'"):
        RUNTIMES["openvino"](image_tower(weights, READS), CPU)
    with pytest.raises(StillmotionError, match="openvino is for a CPU, this is meta"):
        RUNTIMES["openvino"](image_tower(weights, READS), torch.device("meta"))


@needs_integers
def test_integers_leave_the_weights_of_others_alone(weights: Weights) -> None:
    before = {name: tensor.clone() for name, tensor in weights.state.items()}
    for name in ("int8", "bf16"):
        RUNTIMES[name](image_tower(weights, READS), CPU)(torch.randn(1, 2, 3, 32, 32))
    assert all(torch.equal(weights.state[name], tensor) for name, tensor in before.items())
    assert all(weights.state[name].dtype == tensor.dtype for name, tensor in before.items())


def test_matrices_rounded_once_give_the_bits_of_autocast(weights: Weights) -> None:
    video = torch.randn(1, 2, 3, 32, 32)
    tower = image_tower(weights, READS).eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = tower(video)
    found = RUNTIMES["bf16"](image_tower(weights, READS), CPU)(video)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_integers_are_for_a_cpu(weights: Weights) -> None:
    with pytest.raises(StillmotionError, match="int8 is for a CPU, this is meta; pass --runtime bf16"):
        RUNTIMES["int8"](image_tower(weights, READS), torch.device("meta"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no copy of the process is made")
def test_an_instruction_that_is_not_there_ends_a_copy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(kind: str) -> None:
        if probe.LIMIT[0] not in os.environ:
            os.kill(os.getpid(), signal.SIGILL)

    monkeypatch.setattr(probe, "product", ends)
    monkeypatch.delenv(probe.LIMIT[0], raising=False)
    assert probe.runs("int8"), "without matrix tiles it runs"
    assert os.environ[probe.LIMIT[0]] == probe.LIMIT[1]
    assert probe.runs("fp32")
    monkeypatch.delenv(probe.LIMIT[0])
    monkeypatch.setattr(probe, "product", lambda kind: os.kill(os.getpid(), signal.SIGILL))
    assert not probe.runs("bf16")
    assert probe.LIMIT[0] not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no copy of the process is made")
def test_a_copy_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.05)
    monkeypatch.setattr(probe, "product", lambda kind: signal.pause())
    assert not probe.runs("int8")
