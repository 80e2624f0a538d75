"""Damage what the package keeps and what people write: shards, indices, states, lists, labels, names, predictions.

    python -m tests.faults.files --count 240 --seed 0

A command on it ends well, with the result of the undamaged files, or with one line; in bounded time and memory.
"""

import json
import os
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

from safetensors.torch import load_file, save_file

from stillmotion.training.loop import Trainer
from tests.faults import Row, Run, Trial, World, command, limit, main

ROOM, SECONDS = 1 << 30, 10.0
DEEP = b"[" * 10**5 + b"]" * 10**5


def bounded() -> None:
    """The limits of a command."""
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
    limit(resource.RLIMIT_AS, ROOM)()


def trial(words: list[str]) -> tuple[int, str]:
    """Exit code of a command, and what is wrong with its end."""
    child = command(words, bounded).wait()
    slow = f"{child.cpu:.1f} s" if child.cpu > SECONDS else ""
    return child.code, child.error() or slow


def shards(world: World, row: Row) -> None:
    """Bits of features flipped, shards cut, exchanged, of other tensors or of anything; deleted where that is said."""
    run = Run(world)
    kept = shutil.copytree(run.cache, world.folder / "kept")
    for i in row:
        shutil.rmtree(run.out), shutil.rmtree(run.cache)
        shutil.copytree(kept, run.cache)
        one, other = row.draw.sample(sorted(run.cache.glob("*/shard-*.safetensors")), 2)
        content = bytearray(one.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        kind = ("flip", "flip", "flip", "cut", "exchanged", "other", "anything")[i % 7]
        if kind == "flip":
            content[row.draw.randrange(start, len(content))] ^= 1 << row.draw.randrange(8)
        elif kind == "cut":
            del content[row.draw.randrange(len(content)) :]
        elif kind == "exchanged":
            content = bytearray(other.read_bytes())
        elif kind == "other":
            save_file({k: v.flatten()[1:] for k, v in load_file(one).items()}, one)
            content = bytearray(one.read_bytes())
        else:
            content = bytearray(row.draw.randbytes(row.draw.choice((0, 7, 8, 5000))))
        one.write_bytes(content)
        code, problem = trial(run.words)
        row.counts["refused" if code else "without effect"] += 1
        if code and not problem:
            said = command(run.words).wait().said
            told = re.search(r"feature shard (\S+) is damaged .*; delete it and run again", said)
            Path(told[1]).unlink() if told else None
            problem = "" if told else f"not told what to do: {said[-500:]}"
        row.check(problem or run.settle(), f"{i} {kind}")


def stopped_at(step: int) -> Callable[[], None]:
    """Kill training at a step."""
    before = Trainer._step

    def kill(self: Trainer, number: int, *rest: object) -> object:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return before(self, number, *rest)  # type: ignore[arg-type]

    return lambda: setattr(Trainer, "_step", kill)


def garbage(content: bytes, row: Row) -> list[bytes]:
    """What may be in the place of a file."""
    cut, flipped = content[: row.draw.randrange(len(content))], bytearray(content)
    flipped[row.draw.randrange(len(content))] ^= 1 << row.draw.randrange(8)
    kinds = [b"", bytes(len(content)), cut, bytes(flipped), row.draw.randbytes(500), b"\xff\xfe{\0}\0", DEEP]
    return [*kinds, b"[]", b"null", b"{}", b'{"step": 1e999, "a": NaN}', b"3" * 5000, b'"\\ud800"', b"[[]]\n{}\nx\n"]


def kept_files(world: World, row: Row) -> None:
    """Of a run that was killed, and of its cache; it goes on to the same result, or says what is damaged."""
    run = Run(world)
    for path in (run.out, run.cache):
        shutil.rmtree(path)
    command(run.words, stopped_at(5)).wait()
    (run.out / "bad_videos.jsonl").write_text('{"path": "a.mp4", "reason": "x"}\n')
    kept = [(path, shutil.copytree(path, world.folder / f"kept_{path.name}")) for path in (run.out, run.cache)]
    targets = [p for p in sorted(run.out.iterdir()) if p.is_file() and p.name != ".lock"]
    targets += [
        next(run.cache.glob("*/shard-*.json")),
        *run.cache.glob("*/spec.json"),
        *run.cache.glob("digests.jsonl"),
    ]
    for i in row:
        for path, copy in kept:
            shutil.rmtree(path)
            shutil.copytree(copy, path)
        target = targets[i % len(targets)]
        kinds = garbage(target.read_bytes(), row)
        number = i // len(targets) % len(kinds)
        target.write_bytes(kinds[number])
        code, problem = trial(run.words)
        row.counts["refused" if code else "as undamaged"] += 1
        given, expected = (run.gives(), run.expected) if not code else ((), ())
        if target.name == "metrics.jsonl" and not code:  # lines that are lost cannot be told
            given, expected = ((g[0], g[1][:-1]) for g in (given, expected))
        same = given == expected
        row.check(problem or ("" if same else "another result"), f"{i} {target.name} {number}")


LONG = 10**5
LISTS = (
    b"", b"\0", b"\xff\xfe", "{v} left\n{v} right\n".encode("utf-16"), b"{v}\n", b"{v} left\n", b"{v},left\n",
    b"{v} left\n{v} " + b"7" * 5000 + b"\n", b"a\0b.mp4 left\n", b"{v} a\x1bb\n{v} c\n",
    b"/dev/zero left\n/dev/zero b\n",
    b"x" * LONG + b".mp4 left\n", b"path,label\n" + b"x" * 200_000 + b",left\n", b'path,label\n"', b"path\n{v}\n",
    b'{"path": "{v}", "label": NaN}\n', b'{"path": ["{v}"], "label": {}}\n', DEEP,
    b'{"path": "\\ud800", "label": "a"}\n',
    b"none.mp4 left\nnone.mp4 right\n" * 2000, b"{v}\t\n", b"\xef\xbb\xbf{v} left\r\n{v} right\r\n",
    b"x" * 10_000_000,
)  # fmt: skip
LABELS = (
    b"", b"\0", b"0,left\n2,right\n", b"0,left\n0,left\n", b"left\nleft\n",
    b"0," + b"y" * 200_000 + b"\n1,right\n", b"\xff",
    b"9" * 5000 + b",left\n", DEEP, b"id,name\n", b"0,\x1b[31m\n1,right\n", b"left\nright\n",
    b"".join(b"%d,class %d\n" % (k, k) for k in range(3000)),
)  # fmt: skip
NAMES = (
    "", ":", ":f", "evl:", "f:evl", "os:system", "train:fit", "../evl", "__class__", "RECIPES", "published",
    "x" * LONG, "evl_\n", "\ud800", "-", "evl evl", "stillmotion", "json:loads", "a.b.c:d", "/dev/zero:x",
)  # fmt: skip


def written(world: World, row: Row) -> None:
    """Lists of videos and of labels, links and devices in their place, and names of recipes."""
    video = next((world.folder / "clips" / "left").iterdir())
    shutil.copy(video, world.folder / "v.mp4")
    score = ["eval", "zero_shot", "--backbone", str(world.clip), "--device", "cpu", "--out", str(world.folder / "out")]
    cases: list[tuple[str, list[str], Path | None, bytes | str]] = []
    for (number, text), suffix in product(enumerate(LISTS), (".txt", ".csv", ".jsonl")):
        path = world.folder / f"list{number}{suffix}"
        cases.append((path.name, [*score, "--data", str(path)], path, text.replace(b"{v}", b"v.mp4")))
    for number, text in enumerate(LABELS):
        path, clips = world.folder / f"labels{number}.csv", str(world.folder / "clips")
        cases.append((path.name, [*score, "--data", clips, "--labels", str(path)], path, text))
        cases.append((f"train {path.name}", [*world.command(world.folder / "r"), "--labels", str(path)], path, text))
    for kind in ("fifo", "/dev/zero", "loop", "."):
        path = world.folder / f"special_{kind.strip('/.').replace('/', '_')}.txt"
        os.mkfifo(path) if kind == "fifo" else path.symlink_to(path.name if kind == "loop" else kind)
        cases.append((kind, [*score, "--data", str(path)], None, ""))
        cases.append((f"labels {kind}", [*score, "--data", clips, "--labels", str(path)], None, ""))
    for name in NAMES:
        cases.append((f"train {name[:50]!r}", ["train", name, "--data", clips, *score[2:4]], None, ""))
        cases.append(
            (f"predict {name[:50]!r}", ["predict", name, str(video), "--labels", "a,b", *score[2:4]], None, "")
        )
    chosen = row.draw.sample(cases, min(row.count, len(cases)))
    for name, words, path, text in chosen:
        if path is not None and isinstance(text, bytes):
            path.write_bytes(text)
        code, problem = trial(words)
        row.counts["refused" if code else "work"] += 1
        row.check(problem, name)
        shutil.rmtree(world.folder / "r", ignore_errors=True)


def ensembles(world: World, row: Row) -> None:
    """Predictions of two models, one of them damaged."""
    run = Run(world)
    good, bad = run.out / "predictions.jsonl", world.folder / "bad.jsonl"
    lines = [json.loads(line) for line in good.read_text().splitlines()]
    inside = [[0.5], [2, -1], [None, None], "ab", [1e400, 0], ["x", "y"], [[0.5, 0.5]], {}, 0.5]
    texts = [json.dumps({**lines[0], "probabilities": value}).encode() for value in inside]
    texts += [json.dumps({**lines[0], "classes": c}).encode() for c in (None, 3, ["a"], {"a": 1}, [["a"], ["b"]])]
    texts += [json.dumps({**lines[0], "label": c}).encode() for c in (-1, 10**30, "x", None, 1.5)]
    for i in row:
        kinds = [*texts, *garbage(good.read_bytes(), row)]
        bad.write_bytes(kinds[i % len(kinds)])
        code, problem = trial(["ensemble", str(good), str(bad), "--out", str(world.folder / "mixed")])
        row.counts["refused" if code else "work"] += 1
        row.check(problem, i)


TRIALS: dict[str, tuple[Trial, int]] = {
    "shards of features: flipped, cut, exchanged": (shards, 56),
    "index, spec, configuration, metrics, state": (kept_files, 98),
    "lists, labels, names of recipes": (written, 145),
    "predictions for an ensemble": (ensembles, 33),
}

if __name__ == "__main__":
    sys.exit(main(TRIALS))
