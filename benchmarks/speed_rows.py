"""The parts of the work that `bench.py` times, ours beside a plain statement of the release's."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from evl_decoder import random_features
from floors import Floors, interleaved
from reference.decoder import Decoder
from reference.tower import Tap, Tower
from reference.vificlip import TextTower
from reference.vificlip import ViFiCLIP as Plain
from tiny import CONFIG, write_clip

from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig, TextConfig
from stillmotion.backbones.runtimes import RUNTIMES, usable
from stillmotion.data.sampling import segments_test
from stillmotion.data.video import open_video
from stillmotion.methods import EVL, ViFiCLIP
from stillmotion.models.features import Features, Reads

CPU, FRAMES, CLASSES = torch.device("cpu"), 8, 400
LAST = (-4, -3, -2, -1)
ENCODERS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class Row:
    """One part of the work."""

    what: str
    threads: int
    ours: float
    """Seconds."""
    reference: float
    """Seconds of what stands beside it: the release's computation where `what` names nothing else; 0: nothing."""
    floor: float
    """Seconds that the machine's own limit leaves; 0 where there is none to speak of."""

    def to_dict(self) -> dict[str, Any]:
        """With the two shares that a table shows."""
        share = self.floor / self.ours if self.floor else None
        ratio = self.reference / self.ours if self.reference else None
        return {**self.__dict__, "ratio": ratio, "share_of_floor": share}


class Sizes:
    """Of a published CLIP by open_clip's name, or of a `tiny` tower for a look at whether all runs."""

    def __init__(self, name: str):
        tiny, self.name = name == "tiny", name
        self.config = CONFIG if tiny else CLIPConfig.published(name)
        vision = self.config.vision
        self.backbone = describe(self.config)
        self.width, self.heads, self.layers = vision.width, vision.heads, vision.layers
        self.side, self.patch, self.tokens = vision.image_size[0], vision.patch_size, 1 + vision.grid[0] ** 2
        self.grid, self.mlp = vision.grid[0], vision.mlp_width
        self.words = TextConfig(width=64, layers=2, heads=1, mlp_width=64) if tiny else TextConfig()

    def operations(self, frames: int) -> float:
        """Of the products of a tower over so many frames, a multiplication and an addition as two."""
        L, D = self.tokens, self.width
        block = L * D * (4 * D + 2 * self.mlp) + 2 * L * L * D
        return 2 * frames * (self.layers * block + (L - 1) * 3 * self.patch**2 * D)


def encode_rows(sizes: Sizes, floors: Floors, repeats: int) -> Iterator[Row]:
    """A clip of 8 frames through the tower, with what EVL reads of the last four blocks."""
    torch.manual_seed(0)
    video = torch.randn(1, FRAMES, 3, sizes.side, sizes.side)
    plain = Tower(sizes.width, sizes.heads, sizes.layers, sizes.patch, sizes.side).eval().requires_grad_(False)
    calls: dict[str, Callable[[], object]] = {"reference": lambda: plain(video, 4)}
    reads = Reads(frames=True, out=LAST, affinity=LAST)
    for name in ENCODERS if sizes.name == "tiny" else (*ENCODERS, "openvino"):
        if usable(name):
            torch.manual_seed(0)
            run = RUNTIMES[name](sizes.backbone.visual(reads), CPU)
            calls[name] = lambda run=run: run(video)  # type: ignore[misc]
    with torch.inference_mode():
        found = interleaved(calls, repeats)
    reference = found.pop("reference")
    for name, seconds in found.items():
        rate = getattr(floors, "int8" if name == "openvino" else name)
        floor = sizes.operations(FRAMES) / rate if rate else 0.0
        yield Row(f"encode 8 frames, {name}", torch.get_num_threads(), seconds, reference, floor)


def decoder_rows(sizes: Sizes, floors: Floors, repeats: int, batches: tuple[int, ...] = (4, 8)) -> Iterator[Row]:
    """A training step of EVL's decoder, all modules: from the cache's float16, and from the release's taps."""
    method = EVL(num_frames=FRAMES)
    model = method.build(sizes.backbone, [str(i) for i in range(CLASSES)]).train()
    ours = torch.optim.AdamW([*model.temporal.parameters(), *model.head.parameters()], fused=True)
    plain = Decoder(sizes.width, sizes.heads, 4, FRAMES, sizes.grid, CLASSES).train()
    theirs = torch.optim.AdamW(plain.parameters(), fused=True)
    for batch in batches:
        features = random_features(sizes.backbone, method, batch)
        taps = plain_taps(sizes, batch * FRAMES)
        labels = torch.randint(0, CLASSES, (batch,))

        def step(features: Features = features, labels: torch.Tensor = labels) -> None:
            logits = model.head(model.temporal(features), None, features)
            torch.nn.functional.cross_entropy(logits, labels).backward()
            ours.step()
            ours.zero_grad()

        def plain_step(taps: list[Tap] = taps, labels: torch.Tensor = labels) -> None:
            torch.nn.functional.cross_entropy(plain(taps), labels).backward()
            theirs.step()
            theirs.zero_grad()

        found = interleaved({"ours": step, "reference": plain_step}, repeats)
        bytes_read = sum(tensor.nbytes for tensor in features.values())
        floor = 2 * bytes_read / floors.memory  # once forward, once backward
        name = f"EVL decoder step, batch {batch}"
        yield Row(name, torch.get_num_threads(), found["ours"], found["reference"], floor)


def plain_taps(sizes: Sizes, frames: int, device: torch.device = CPU) -> list[Tap]:
    """What the release's decoder reads of four blocks."""
    shapes = [
        (frames, sizes.tokens, sizes.width),
        *[(frames, sizes.tokens, sizes.heads, sizes.width // sizes.heads)] * 2,
    ]
    return [Tap(*(torch.randn(shape, device=device) for shape in shapes)) for _ in LAST]


def vificlip_row(sizes: Sizes, repeats: int, clips: int = 4, classes: int = 101) -> Row:
    """A training step of both towers, 8 frames a clip: forward and backward, without the optimizer."""
    torch.manual_seed(0)
    words = sizes.words
    model = ViFiCLIP(num_frames=FRAMES).build(describe(replace(sizes.config, text=words)), ["a"] * classes).train()
    embed, heads = sizes.config.embed_dim, words.width // 64
    text = TextTower(words.vocab_size, words.width, heads, words.layers, words.context_length, embed)
    tower = Tower(sizes.width, sizes.heads, sizes.layers, sizes.patch, sizes.side, fused=True)
    plain = Plain(tower, text, sizes.width, embed).train()
    video, labels = torch.randn(clips, FRAMES, 3, sizes.side, sizes.side), torch.randint(0, classes, (clips,))
    tokens = torch.zeros(classes, words.context_length, dtype=torch.long)
    tokens[:, :8] = torch.randint(1, words.vocab_size - 1, (classes, 8))  # "a video of somebody playing the violin"
    tokens[:, 8] = words.vocab_size - 1

    def step(net: Any) -> None:
        torch.nn.functional.cross_entropy(net(video, tokens), labels).backward()
        net.zero_grad()

    found = interleaved({"ours": lambda: step(model), "reference": lambda: step(plain)}, repeats)
    name = f"ViFi-CLIP step, {clips * FRAMES} frames, {classes} classes"
    return Row(name, torch.get_num_threads(), found["ours"], found["reference"], 0.0)


def decode_rows(tiny: bool, repeats: int) -> Iterator[Row]:
    """8 of a video's frames, exactly those that decoding from the start gives."""
    cases = [("1 s", 25, (96, 64))] if tiny else [("12 s, 340x256", 300, (340, 256)), ("12 s, 720p", 300, (1280, 720))]
    with tempfile.TemporaryDirectory() as folder:
        for name, frames, size in cases:
            path = Path(folder) / f"{size[1]}.mp4"
            write_clip(path, frames, size)
            wanted = {int(i) for i in segments_test(frames, FRAMES).flatten()}
            calls: dict[str, Callable[[], object]] = {
                "ours": lambda path=path, wanted=wanted: open_video(path).frames(sorted(wanted)),  # type: ignore[misc]
                "reference": lambda path=path, wanted=wanted: open_video(path)._sequential(wanted),  # type: ignore[misc]
            }
            found = interleaved(calls, repeats)
            yield Row(f"decode 8 of {frames} frames, {name}, beside all", 1, found["ours"], found["reference"], 0.0)
