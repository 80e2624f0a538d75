"""`stillmotion count METHOD... --throughput`: the efficiency table, every method counted and measured alike."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, at_least
from stillmotion.libraries.classifier import is_foreign


@dataclass(frozen=True, kw_only=True)
class CountMany:
    """Set methods or recipes side by side: GMAC of a view, parameters, and with --throughput what is measured here."""

    num_frames: int | None = None
    """Frames of a view, of all of them; None: each its own."""
    clip_model: str | None = None
    """Sizes of CLIP, of all of them: a ViT by open_clip's name; None: each its own."""
    image_size: int | None = None
    """Input size in pixels; None: that of the model."""
    classes: int = 400
    """Classes to tell apart."""
    throughput: bool = False
    """Measure videos a second and peak memory, with random weights."""
    batch: int = 1
    """Videos of one view in a pass."""
    repeats: int = 5
    """Timed passes of each method, in turn; the median counts."""
    device: str = "auto"
    """Where to measure: auto (the GPU if there is one), cpu, cuda, cuda:1, ..., or mps."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        at_least(1, self, "num_frames", "batch", "repeats", "classes")


def run_many(words: Sequence[str], defaults: Callable[[str], Any]) -> None:
    """Count, measure and print; `defaults` gives what a name counts (`cli.count.defaults`)."""
    end = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    names, prog = words[:end], f"stillmotion count {' '.join(words[:end])}"
    options: CountMany = parse(CountMany, words[end:], prog)
    if foreign := [name for name in names if is_foreign(name)]:
        raise StillmotionError(f"{foreign[0]} is of another library; count it alone: stillmotion count {foreign[0]}")
    from stillmotion.backbones.clip import describe
    from stillmotion.backbones.config import CLIPConfig
    from stillmotion.count import count
    from stillmotion.origin import machine
    from stillmotion.throughput import Subject, measure

    subjects, models = [], []
    for name in names:
        base = defaults(name)
        method = base.method if options.num_frames is None else replace(base.method, num_frames=options.num_frames)
        models.append(options.clip_model or base.clip_model)
        clip = replace(CLIPConfig.published(models[-1]), activation="quick_gelu")
        size = options.image_size or base.image_size
        subjects.append(Subject(method, clip if size is None else clip.at(size), options.classes))
    counts = [count(subject.method, describe(subject.clip), options.classes) for subject in subjects]
    speeds = measure(subjects, options.device, options.batch, options.repeats) if options.throughput else []
    rows: list[dict[str, Any]] = []
    for i, (name, subject, found) in enumerate(zip(names, subjects, counts)):
        sizes = {key: getattr(found.total, key) for key in ("parameters", "trained", "new")}
        macs = {"macs_per_view": found.video.macs, "plain_macs_per_view": found.video.plain_macs}
        row = {"name": name, "clip_model": models[i], "num_frames": subject.method.num_frames, **sizes, **macs}
        rows.append(row | (asdict(speeds[i]) if speeds else {}))
    if options.json:
        how = {"batch": options.batch, "repeats": options.repeats, "device": options.device, "machine": machine()}
        print(json.dumps({"methods": rows, "classes": options.classes, **(how if speeds else {})}))
        return
    _print(rows, options, machine() if speeds else {})


def _print(rows: Sequence[dict[str, Any]], options: CountMany, machine: dict[str, Any]) -> None:
    from stillmotion.cli.table import show

    header = ["method", "CLIP", "frames", "GFLOPs a view", "parameters", "trained"]
    header += ["videos/s", "peak memory"] if machine else []
    lines = []
    for row in rows:
        cells = [row["name"], row["clip_model"], str(row["num_frames"]), f"{row['plain_macs_per_view'] / 1e9:,.1f}"]
        cells += [f"{row[key] / 1e6:,.1f} M" for key in ("parameters", "trained")]
        if machine:
            cells += [f"{row['videos_per_second']:.3g}", f"{row['peak_memory'] / 1e9:.2f} GB"]
        lines.append(cells)
    show(header, lines, words=2)
    print(
        "\nGFLOPs: multiply and add as one, as papers print them, of the equations as written; without the text tower"
    )
    print("parameters: all of them, text tower and token table too")
    if machine:
        import torch

        cpu = options.device == "cpu" or (options.device == "auto" and not machine["gpus"])
        where = f"{machine['cpu']}, {torch.get_num_threads()} threads" if cpu else ", ".join(machine["gpus"]) or "mps"
        memory = "of a process of its own, Python and PyTorch included" if cpu else "what PyTorch allocated"
        print(f"videos/s: of one view, batch {options.batch}, fp32, median of {options.repeats} passes in turn after "
              f"a warm-up, on {where}; peak memory: {memory}")  # fmt: skip
