"""How near a device's limits encoding and training come: `python benchmarks/gpu.py`, on a GPU or without one.

    python benchmarks/gpu.py --out runs/gpu
    python benchmarks/gpu.py --quick

Random weights and pixels, so decoding is not in it. Products of a block's size give the device's peak in the same run;
the release's computation (`benchmarks/reference/`) runs beside ours, in the same precision. First the answers of the
device are compared with those of a CPU in float32. Writes DIR/gpu.json.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from evl_decoder import random_features
from reference.decoder import Decoder
from reference.tower import Tower
from sections import machine, markdown
from speed_rows import Sizes, plain_taps

from stillmotion.backbones.runtimes import RUNTIMES
from stillmotion.devices import find_device
from stillmotion.files import write_json
from stillmotion.methods import EVL, ViFiCLIP
from stillmotion.models.features import Features, Reads

FRAMES, CLASSES = 8, 400


@dataclass(frozen=True)
class Options:
    """What to run."""

    out: Path = Path("runs/gpu")
    """Folder of gpu.json."""
    models: tuple[str, ...] = ("ViT-B-16", "ViT-L-14")
    """Sizes of CLIP, by open_clip's names."""
    batches: tuple[int, ...] = (1, 8, 32)
    """Clips of a pass."""
    device: str = "auto"
    """Where."""
    repeats: int = 20
    """Passes to take the median of."""
    quick: bool = False
    """One pass with a tiny tower; written nowhere."""


@dataclass(frozen=True)
class Row:
    """One part of the work."""

    what: str
    model: str
    batch: int
    precision: str
    videos_per_second: float | None
    """None: it does not fit the memory."""
    reference: float | None
    """The release's, in the same precision."""
    share_of_peak: float | None
    """Of the products that were measured in this run."""
    peak_memory_mb: float | None


class Bench:
    """A device, and how things are timed on it."""

    def __init__(self, options: Options):
        self.options, self.device = options, find_device(options.device)
        self.cuda = self.device.type == "cuda"
        self.half = torch.bfloat16

    def seconds(self, call: Callable[[], object]) -> float:
        """Median of the passes behind two that are not timed."""
        times = []
        for turn in range(self.options.repeats + 2):
            self.wait()
            started = time.perf_counter()
            call()
            self.wait()
            if turn >= 2 or self.options.quick:
                times.append(time.perf_counter() - started)
        return statistics.median(times)

    def wait(self) -> None:
        """Until the device is done."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def fits(self, call: Callable[[], object]) -> tuple[float | None, float | None]:
        """Seconds and peak megabytes of a call; None twice where the memory is too small."""
        try:
            if self.cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(self.device)
            seconds = self.seconds(call)
        except torch.cuda.OutOfMemoryError:
            return None, None
        return seconds, torch.cuda.max_memory_allocated(self.device) / 1e6 if self.cuda else None

    def peak(self, sizes: Sizes, dtype: torch.dtype) -> float:
        """Operations a second of a product as large as one of an MLP over 64 frames."""
        a = torch.randn(64 * sizes.tokens, sizes.width, device=self.device, dtype=dtype)
        b = torch.randn(sizes.width, sizes.mlp, device=self.device, dtype=dtype)
        return 2 * a.shape[0] * a.shape[1] * b.shape[1] / self.seconds(lambda: a @ b)

    def autocast(self, half: bool) -> Any:
        """As training with --precision bf16."""
        return torch.autocast(self.device.type, dtype=self.half) if half else nullcontext()


def encode_rows(bench: Bench, sizes: Sizes, name: str) -> Iterator[Row]:
    """Frozen towers with what EVL reads, each runtime, beside the release's tower."""
    reads = Reads(frames=True, out=(-4, -3, -2, -1), affinity=(-4, -3, -2, -1))
    for precision in ("fp32", "bf16", "fp16") if bench.cuda else ("fp32",):
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        peak, run = bench.peak(sizes, dtype), RUNTIMES[precision](sizes.backbone.visual(reads), bench.device)
        plain = Tower(sizes.width, sizes.heads, sizes.layers, sizes.patch, sizes.side).eval().requires_grad_(False)
        plain = plain.to(bench.device, dtype)
        for batch in bench.options.batches:
            video = torch.randn(batch, FRAMES, 3, sizes.side, sizes.side, device=bench.device)
            seconds, memory = bench.fits(partial(run, video))
            with torch.inference_mode():
                theirs, _ = bench.fits(partial(plain, video.to(dtype), 4))
            share = None if seconds is None else batch * sizes.operations(FRAMES) / seconds / peak
            rates = (None if s is None else batch / s for s in (seconds, theirs))
            yield Row("encode", name, batch, precision, *rates, share, memory)


def decoder_rows(bench: Bench, sizes: Sizes, name: str) -> Iterator[Row]:
    """Training steps of EVL from the cache, beside the release's decoder on its taps."""
    method = EVL(num_frames=FRAMES)
    model = method.build(sizes.backbone, [str(i) for i in range(CLASSES)]).train().to(bench.device)
    plain = Decoder(sizes.width, sizes.heads, 4, FRAMES, sizes.grid, CLASSES).train().to(bench.device)
    for half in (False, True) if bench.cuda else (False,):
        for batch in bench.options.batches:
            features = {k: v.to(bench.device) for k, v in random_features(sizes.backbone, method, batch).items()}
            labels = torch.randint(0, CLASSES, (batch,), device=bench.device)

            def step(features: Features = features, labels: torch.Tensor = labels, half: bool = half) -> None:
                with bench.autocast(half):
                    logits = model.head(model.temporal(features), None, features)
                torch.nn.functional.cross_entropy(logits.float(), labels).backward()
                model.zero_grad()

            seconds, memory = bench.fits(step)
            taps = plain_taps(sizes, batch * FRAMES, bench.device)

            def plain_step(taps: Any = taps, labels: torch.Tensor = labels, half: bool = half) -> None:
                with bench.autocast(half):
                    logits = plain(taps)
                torch.nn.functional.cross_entropy(logits.float(), labels).backward()
                plain.zero_grad()

            theirs, _ = bench.fits(plain_step)
            rates = (None if s is None else batch / s for s in (seconds, theirs))
            yield Row("EVL step from the cache", name, batch, "bf16" if half else "fp32", *rates, None, memory)


def vificlip_rows(bench: Bench, sizes: Sizes, name: str) -> Iterator[Row]:
    """Training steps of ViFi-CLIP's image tower: forward and backward are three times the forward's operations."""
    model = ViFiCLIP(num_frames=FRAMES, tuned="image").build(sizes.backbone, ["a"] * CLASSES).train().to(bench.device)
    classes = torch.randn(CLASSES, sizes.config.embed_dim, device=bench.device)
    for half in (False, True) if bench.cuda else (False,):
        peak = bench.peak(sizes, torch.bfloat16 if half else torch.float32)
        for batch in bench.options.batches:
            video = torch.randn(batch, FRAMES, 3, sizes.side, sizes.side, device=bench.device)
            labels = torch.randint(0, CLASSES, (batch,), device=bench.device)

            def step(video: torch.Tensor = video, labels: torch.Tensor = labels, half: bool = half) -> None:
                with bench.autocast(half):
                    logits = model.classify(video, classes)
                torch.nn.functional.cross_entropy(logits.float(), labels).backward()
                model.zero_grad()

            seconds, memory = bench.fits(step)
            share = None if seconds is None else 3 * batch * sizes.operations(FRAMES) / seconds / peak
            rate = None if seconds is None else batch / seconds
            yield Row("ViFi-CLIP step", name, batch, "bf16" if half else "fp32", rate, None, share, memory)


def agreement(bench: Bench, sizes: Sizes) -> dict[str, float]:
    """Mean cosine of frame embeddings with those of a CPU in float32, by runtime."""
    torch.manual_seed(0)
    tower, video = sizes.backbone.visual(Reads(frames=True)), torch.randn(1, FRAMES, 3, sizes.side, sizes.side)
    state, found = tower.state_dict(), {}
    truth = RUNTIMES["fp32"](tower, torch.device("cpu"))(video)["frames"]
    for name in ("fp32", "bf16", "fp16") if bench.cuda else ("fp32",):
        other = sizes.backbone.visual(Reads(frames=True))
        other.load_state_dict(state)
        frames = RUNTIMES[name](other, bench.device)(video)["frames"].float().cpu()
        found[name] = float(torch.nn.functional.cosine_similarity(truth, frames, dim=-1).mean())
    return found


def main(options: Options) -> None:
    """Measure, print and write."""
    if options.quick:
        options = Options(models=("tiny",), batches=(2,), repeats=1, device="cpu", quick=True)
    bench, rows, near = Bench(options), list[Row](), {}
    for name in options.models:
        sizes = Sizes(name)
        near[name] = agreement(bench, sizes)
        for part in (encode_rows, decoder_rows, vificlip_rows):
            rows += part(bench, sizes, name)
    what = torch.cuda.get_device_name(bench.device) if bench.cuda else machine()
    lines = [
        [str("" if x is None else f"{x:.3g}" if isinstance(x, float) else x) for x in asdict(r).values()] for r in rows
    ]
    header = ["what", "model", "clips", "precision", "videos/s", "release's", "of the peak", "MB"]
    print(f"{what}\n\n{markdown(header, lines)}\n\ncosines with a CPU: {near}")
    if not options.quick:
        write_json(options.out / "gpu.json", {"device": what, "cosines": near, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
