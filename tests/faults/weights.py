"""Damage files of weights at random and read them: each loads, or is refused in one line, in bounded time and memory.

    python -m tests.faults.weights --count 5000 --seed 0

Every mutant is read in a process of its own, with half a gigabyte above what it starts with and ten seconds of the
processor. Prints a row for each kind of file: tried, loaded, refused, fell. Exits with 1 if anything fell.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.backbones.clip import TextTransformer, VisionTransformer
from stillmotion.backbones.config import CLIPConfig, TextConfig, VisionConfig
from stillmotion.backbones.load import load_backbone
from stillmotion.errors import StillmotionError
from stillmotion.weights.hugging_face import to_hugging_face
from stillmotion.weights.names import to_openai
from stillmotion.weights.readers import read_state

ROOM, SECONDS = 512 << 20, 10
LOADED, REFUSED, FELL = 0, 1, 2
NUMBERS = (0, 1, 4, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
VALUES = (None, True, 0, -1, 10**9, 10**30, 1e400, float("nan"), "", "x", "../x", [], [1], {}, {"a": 1}, [[[]]])


def tiny() -> dict[str, Tensor]:
    """A CLIP of two layers, a few kilobytes."""
    torch.manual_seed(0)
    sizes = {"width": 64, "layers": 2, "heads": 1, "mlp_width": 64}
    text = TextConfig(**sizes, vocab_size=20, context_length=8)
    clip = CLIPConfig(embed_dim=16, vision=VisionConfig(**sizes, image_size=(16, 16), patch_size=8), text=text)
    state = {f"visual.{k}": v for k, v in VisionTransformer(clip).state_dict().items()}
    return state | dict(TextTransformer(clip).state_dict()) | {"logit_scale": torch.tensor(2.0)}


class Tower(torch.nn.Module):
    """Nested as a TorchScript archive is."""

    def __init__(self, state: dict[str, Tensor]):
        super().__init__()
        for name, value in state.items():
            *path, last = name.split(".")
            place: torch.nn.Module = self
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, torch.nn.Module())
                place = getattr(place, part)
            place.register_buffer(last, value)

    def forward(self, x: Tensor) -> Tensor:
        """Nothing is run."""
        return x


def seeds(folder: Path) -> dict[str, Path]:
    """One good file or folder of each kind."""
    state = tiny()
    save_file(state, folder / "clip.safetensors")
    torch.save({"model": state, "epoch": 3}, folder / "zip.pt")
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    script = torch.jit.trace(Tower(state), torch.ones(1), check_trace=False)
    script.save(str(folder / "script.pt"))
    (folder / "hf").mkdir()
    save_file(to_hugging_face(state), folder / "hf" / "part.safetensors")
    index = {"weight_map": dict.fromkeys(to_hugging_face(state), "part.safetensors")}
    statistics = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "open_clip").mkdir()
    torch.save(state, folder / "open_clip" / "open_clip_pytorch_model.bin")
    tower = {"width": 64, "layers": 2, "mlp_ratio": 1.0}
    model = {"embed_dim": 16, "quick_gelu": True, "vision_cfg": {**tower, "image_size": 16, "patch_size": 8}}
    model["text_cfg"] = {**tower, "heads": 1, "vocab_size": 20, "context_length": 8}
    for name, content in {
        "hf/model.safetensors.index.json": index,
        "hf/config.json": {
            f"{kind}_config": {"num_attention_heads": 1, "hidden_act": "quick_gelu"} for kind in ("vision", "text")
        },
        "hf/preprocessor_config.json": statistics,
        "open_clip/open_clip_config.json": {
            "model_cfg": model,
            "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3},
        },
    }.items():
        (folder / name).write_text(json.dumps(content))
    names = {"safetensors": "clip.safetensors", "zip": "zip.pt", "legacy": "legacy.pt", "TorchScript": "script.pt"}
    return {kind: folder / name for kind, name in names.items()} | {k: folder / k for k in ("hf", "open_clip")}


def damage(content: bytes, draw: random.Random, within: int | None = None) -> bytes:
    """Change one to four places: bits, bytes, numbers, lengths, and order; mostly among the first `within` bytes."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        end = max(1, min(len(data), within) if within and draw.random() < 0.8 else len(data))
        at, length = draw.randrange(end), draw.choice((1, 2, 4, 8, 64, 1000))
        way = draw.randrange(7)
        if way == 0:
            data[at : at + 1] = bytes([data[at] ^ 1 << draw.randrange(8)]) if data else b""
        elif way == 1:
            data[at : at + 1] = draw.randbytes(1)
        elif way == 2:
            size = draw.choice((1, 2, 4, 8))
            data[at : at + size] = (draw.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, "little")
        elif way == 3:
            del data[at : at + length]
        elif way == 4:
            data[at:at] = draw.choice((draw.randbytes(length), bytes(length), data[at : at + length]))
        elif way == 5:
            other = draw.randrange(max(1, len(data)))
            data[at : at + length] = data[other : other + length]
        elif draw.random() < 0.2:
            del data[at:]
    return bytes(data)


def damage_json(path: Path, draw: random.Random) -> None:
    """Put another value somewhere, or leave something out, or damage the text."""
    if draw.random() < 0.3:
        path.write_bytes(damage(path.read_bytes(), draw))
        return
    content = json.loads(path.read_text())
    node = content
    while True:
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], (dict, list)) and node[key] and draw.random() < 0.8:
            node = node[key]
            continue
        if draw.random() < 0.2:
            del node[key]
        else:
            node[key] = draw.choice(VALUES)
        break
    path.write_text(json.dumps(content))


def damage_archive(path: Path, draw: random.Random) -> None:
    """Damage the pickle inside, under a checksum that is right."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in parts if name.endswith("/data.pkl"))
    parts[pickled] = damage(parts[pickled], draw)
    with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def mutate(source: Path, place: Path, draw: random.Random) -> Path:
    """A damaged copy of a file or folder."""
    target = place / source.name
    if source.is_dir():
        shutil.copytree(source, target)
        file = draw.choice(sorted(target.iterdir()))
        (damage_json if file.suffix == ".json" and draw.random() < 0.9 else damage_file)(file, draw)
        return target
    shutil.copy(source, target)
    if zipfile.is_zipfile(target) and draw.random() < 0.7:
        damage_archive(target, draw)
    else:
        damage_file(target, draw)
    return target


def damage_file(path: Path, draw: random.Random) -> None:
    """Damage a file as it lies there, mostly in its head, where the structure is."""
    path.write_bytes(damage(path.read_bytes(), draw, within=3000))


def attempt(call: Callable[[], object]) -> int:
    """Read in a process of its own; how it ended, below zero for a signal."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, resource.RLIM_INFINITY))
        signal.alarm(12 * SECONDS)  # what waits takes no time of the processor
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
        try:
            call()
            os._exit(LOADED)
        except StillmotionError as error:
            message = str(error)
            one = "\n" not in message and len(message) < 20_000 and not isinstance(error.__cause__, MemoryError)
            if not one:
                traceback.print_exc()
            os._exit(REFUSED if one else FELL)
        except BaseException:
            traceback.print_exc()
        os._exit(FELL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        sources = seeds(Path(name))
        for source in sources.values():
            load_backbone(str(source))  # or the rest would mean nothing; and the imports are done before the forks
        for i in range(options.count):
            kind = list(sources)[i % len(sources)]
            draw = random.Random(f"{options.seed} {i}")
            with tempfile.TemporaryDirectory(dir=name) as place:
                target = mutate(sources[kind], Path(place), draw)
                read = draw.choice((load_backbone, load_backbone, lambda p: to_openai(read_state(Path(p)))))
                code = attempt(lambda t=target, r=read: r(str(t)))
            row = results.setdefault(kind, Counter())
            row[{LOADED: "loaded", REFUSED: "refused"}.get(code, "fell")] += 1
            if code not in (LOADED, REFUSED):
                print(f"fell: --seed {options.seed}, mutant {i} ({kind}), code {code}", file=sys.stderr)
    print(f"{'':12} {'tried':>7} {'loaded':>7} {'refused':>7} {'fell':>7}")
    for kind, row in {**results, "all": sum(results.values(), Counter())}.items():
        print(f"{kind:12} {row.total():7} {row['loaded']:7} {row['refused']:7} {row['fell']:7}")
    return int(any(row["fell"] for row in results.values()))


if __name__ == "__main__":
    sys.exit(main())
