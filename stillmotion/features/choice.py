"""Which runtime a frozen tower has on a CPU: the fastest that gives what float32 gives, measured once on real clips."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor

from stillmotion.backbones.runtimes import RUNTIMES, Runtime, usable
from stillmotion.backbones.weights import Weights, image_tower
from stillmotion.data.bad import BadVideo
from stillmotion.data.dataset import read_clip
from stillmotion.data.manifest import Clip
from stillmotion.errors import DiskError, StillmotionError, one_line
from stillmotion.features.store import FeatureSpec
from stillmotion.files import raise_if_disk, write_json
from stillmotion.models.features import Features, Reads
from stillmotion.progress import say

SMALL = 20_000_000
"""Weights of a tower below which rounding would take longer than it saves."""
ENOUGH = {"int8": (0.999, 0.995), "bf16": (0.9995, 0.998)}
"""Least cosines with float32, in the mean over frames and over tokens. A few tokens of CLIP hold very large values and
change place under any rounding, so that the least cosine of a token says nothing."""
GAIN = 1.2
"""Times float32's speed below which exact numbers are worth more."""
CLIPS, FRAMES, ROUNDS = 3, 4, 3
"""Clips that are compared, frames of each, and passes over one of them whose median is taken."""
CHOICES = "runtimes.json"


@dataclass(frozen=True)
class Trial:
    """What was measured of a runtime against float32."""

    runtime: str
    speed: float
    """Times float32's."""
    frames: float
    """Mean cosine of frame embeddings; 1 where the tower has none."""
    tokens: float
    """Mean cosine of the tokens behind the last block."""

    @property
    def faithful(self) -> bool:
        """Whether it gives what float32 gives, near enough for a head to learn the same."""
        frames, tokens = ENOUGH[self.runtime]
        return self.frames >= frames and self.tokens >= tokens

    def __str__(self) -> str:
        return (
            f"{self.runtime} is {self.speed:.1f} times as fast as fp32 here, with cosines of {self.frames:.4f} "
            f"(frames) and {self.tokens:.4f} (tokens) on your first clips"
        )


def choose(weights: Weights, spec: FeatureSpec, clips: Sequence[Clip], root: Path) -> str:
    """The runtime to compute features with on a CPU: the one that the cache was begun with, or else the fastest.

    Args:
        spec: what features depend on but for the runtime.
        clips: on whose first ones runtimes are compared.
        root: the cache's folder, which remembers the choice, so that what was computed is found again.
    """
    if sum(t.numel() for k, t in weights.state.items() if k.startswith("visual.")) < SMALL:
        return "fp32"
    if not weights.backbone.frames_alone:  # its other orders are read from videos, by a tower in float32
        return "fp32"
    name = _known(root, spec)
    if name is None and (root / spec.key / "spec.json").is_file():  # computed in float32, before there was a choice
        return "fp32"
    name = name or _measured(weights, spec, clips, root)
    if name != "fp32" and not usable(name):
        say(f"this cache was begun with {name}, which this machine cannot run; fp32 is used, and encodes anew")
        return "fp32"
    return name


def _measured(weights: Weights, spec: FeatureSpec, clips: Sequence[Clip], root: Path) -> str:
    """Measure, and remember what came of it. Raises `DiskError`: the cache cannot be written to."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{CHOICES}.lock"):  # of several processes one measures
            if known := _known(root, spec):
                return known
            found = measure(weights, spec, clips)
            if found is None:
                return "fp32"
            best = decide(found)
            name = best.runtime if best else "fp32"
            content = {"runtime": name, "trials": [asdict(trial) for trial in found]}
            write_json(root / CHOICES, _read(root / CHOICES) | {spec.backbone: content})
    except OSError as error:
        raise_if_disk(error, root)
        raise
    return name


def _known(root: Path, spec: FeatureSpec) -> str | None:
    try:
        name = _read(root / CHOICES).get(spec.backbone, {}).get("runtime")
    except OSError as error:
        raise DiskError(
            f"cannot read {root / CHOICES} ({error.strerror}); mend its permissions or remove it"
        ) from error
    return name if name in RUNTIMES else None


def decide(trials: Sequence[Trial]) -> Trial | None:
    """The fastest faithful runtime, if there is one; says what was found."""
    worth = [trial for trial in trials if trial.speed >= GAIN]
    best = max((trial for trial in worth if trial.faithful), key=lambda trial: trial.speed, default=None)
    for trial in worth:
        if not trial.faithful:
            say(f"warning: {trial}, which is too far from it; it is not used")
    say(f"{best}; it is used: --runtime fp32 is exact" if best else "the tower runs in fp32: nothing else is worth it")
    return best


def measure(weights: Weights, spec: FeatureSpec, clips: Sequence[Clip]) -> list[Trial] | None:
    """Compare what this machine can run with float32, on the first clips that can be read; None: none can be."""
    able = [name for name in ENOUGH if usable(name)]  # before the first product of the tower: see `probe`
    videos = _videos(spec, clips, weights) if able else []
    if not videos:
        return None
    say("comparing ways to run the backbone on your first clips, once for this cache")
    exact = _made("fp32", weights)
    truth = [exact(video) for video in videos]
    if not all(bool(tensor.isfinite().all()) for features in truth for tensor in features.values()):
        return None  # which is refused where features are kept
    trials = []
    for name in able:
        run = _made(name, weights)
        try:
            found = [run(video) for video in videos]
        except (StillmotionError, RuntimeError) as error:  # which another runtime may yet run
            say(f"{name} cannot run this backbone: {one_line(error):.200}")
            continue
        cosines = [_cosine(truth, found, kind) for kind in ("frames", "out")]
        trials.append(Trial(name, _speed(exact, run, videos[0]), *cosines))
        del run  # its weights, before those of the next
    return trials


def _videos(spec: FeatureSpec, clips: Sequence[Clip], weights: Weights) -> list[Tensor]:
    videos: list[Tensor] = []
    for clip in clips[: 4 * CLIPS]:  # some may be unreadable, which is for later to say
        read = read_clip(clip, spec.num_frames, spec.sampling, spec.preprocess, 0)
        if not isinstance(read, BadVideo):
            step = weights.backbone.time_stride
            videos.append(read[:1, : max(step, FRAMES // step * step)])
        if len(videos) == CLIPS:
            break
    return videos


def _made(name: str, weights: Weights) -> Runtime:
    backbone = weights.backbone
    tower = image_tower(weights, Reads(frames="frames" in backbone.offers, out=(-1,)))
    return RUNTIMES[name](tower, torch.device("cpu"))


def _cosine(truth: Sequence[Features], found: Sequence[Features], kind: str) -> float:
    pairs = [(a[name], b[name]) for a, b in zip(truth, found) for name in a if name.startswith(kind)]
    cosines = [F.cosine_similarity(a.double(), b.double(), dim=-1).flatten() for a, b in pairs]
    return float(torch.cat(cosines).mean()) if cosines else 1.0


def _speed(exact: Runtime, run: Runtime, video: Tensor) -> float:
    times: list[tuple[float, float]] = [(_seconds(exact, video), _seconds(run, video)) for _ in range(ROUNDS)]
    return statistics.median(a for a, _ in times) / statistics.median(b for _, b in times)


def _seconds(run: Callable[[Tensor], Features], video: Tensor) -> float:
    started = time.perf_counter()
    run(video)
    return time.perf_counter() - started


def _read(path: Path) -> dict[str, Any]:
    """What was chosen. Raises `OSError`: it cannot be read. A file that is damaged is said, and measured again."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {k: v for k, v in known.items() if isinstance(v, dict)}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        say(f"{path} is damaged ({one_line(error):.80}); what it says of runtimes is measured again")
        return {}
