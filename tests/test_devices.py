"""Devices by name: those that are here, and one line for the others."""

import os

import pytest
import torch

from stillmotion import devices
from stillmotion.devices import find_device
from stillmotion.errors import StillmotionError
from stillmotion.training.accelerator import make_accelerator
from stillmotion.training.config import Train


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, built: str | None = "13.0") -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.version, "cuda", built)


def test_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert [str(find_device(name)) for name in (None, "auto", "cpu", torch.device("meta"))] == ["cpu"] * 3 + ["meta"]
    gpus(monkeypatch, 2)
    assert [str(find_device(n)) for n in (None, "auto", "cpu", "cuda", "cuda:1")] == [
        "cuda",
        "cuda",
        "cpu",
        "cuda",
        "cuda:1",
    ]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert str(find_device("mps")) == "mps"


@pytest.mark.parametrize(
    ("name", "count", "built", "message"),
    [
        ("gpu", 1, "13.0", "device 'gpu' is unknown; choose auto, cpu, cuda, cuda:0, cuda:1, ..., or mps"),
        ("cuda:", 1, "13.0", "is unknown"),
        ("cuda:1", 1, "13.0", "device 'cuda:1' is not here; this machine has cuda:0$"),
        ("cuda:4", 4, "13.0", "this machine has cuda:0 to cuda:3$"),
        ("cuda", 0, "13.0", "PyTorch finds no GPU; use cpu or auto"),
        ("cuda:0", 0, None, "this PyTorch is built without CUDA; use cpu or auto"),
        ("mps", 0, None, "it is Apple's GPU; use cpu or auto"),
    ],
)
def test_what_is_not(monkeypatch: pytest.MonkeyPatch, name: str, count: int, built: str | None, message: str) -> None:
    gpus(monkeypatch, count, built)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(StillmotionError, match=message):
        find_device(name)


@pytest.mark.parametrize(("device", "said"), [("gpu", "device 'gpu' is unknown"), ("cuda:7", "is not here")])
def test_training_says_which_device_is_not_there(device: str, said: str) -> None:
    with pytest.raises(StillmotionError, match=said):
        make_accelerator(Train(device=device))
    assert make_accelerator(Train(device="cpu")).device.type == "cpu"


def test_every_run_of_a_process_is_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is named for one run is not that of the next; `meta` stands for a GPU."""
    find = devices.find_device
    monkeypatch.setattr(devices, "find_device", lambda name: torch.device("meta:1") if name == "cuda:1" else find(name))
    kinds = [make_accelerator(Train(device=name)).device.type for name in ("cpu", "cuda:1", "cpu", "auto")]
    assert kinds == ["cpu", "meta", "cpu", find("auto").type]
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(StillmotionError, match="here every process has its own; leave it out"):
        make_accelerator(Train(device="cuda:1"))
