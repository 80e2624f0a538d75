"""Cards and configurations made to mislead: refused in one line, or a model that works; in bounded time and memory.

    python -m tests.faults.cards --count 400 --seed 0

Two seconds of one core and a gigabyte for each; no module is imported, no process started, nothing asked for.
"""

import copy
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

import stillmotion
from stillmotion.backbones.load import load_backbone
from stillmotion.errors import StillmotionError
from tests.faults import Row, Run, Trial, World, fork, limit, main, weights

ROOM, SECONDS = 1 << 30, 2.0
SELF, DEEP, CANARY = "@self@", "@deep@", "stillmotion_canary"
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 10**5, 10**9, 10**30, 0.5, 1e400, float("nan"), "", "x", "x" * 100_000,
    "../x", "\0",
    "/dev/zero", "os:system", CANARY, f"{CANARY}:run", "torch.nn.Linear", "__class__", "auto", "http://127.0.0.1:9/x",
    "\x1b[31m", "\ud800", SELF, DEEP, [], [1], ["a", "a"], [[[]]], {}, {"a": 1}, {"__class__": "os.system"},
    [0] * 10**5,
)  # fmt: skip
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.getaddrinfo")


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values of a JSON document, of those in a long list the first."""
    keys = list(node) if isinstance(node, dict) else list(range(min(len(node), 2))) if isinstance(node, list) else []
    return [p for key in keys for p in ((*path, key), *places(node[key], (*path, key)))]


def changed(document: Any, path: tuple[Any, ...], value: Any, file: Path) -> str:
    """A JSON text with another value in one place."""
    document = copy.deepcopy(document)
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return json.dumps(document).replace(f'"{DEEP}"', "[" * 10**5 + "]" * 10**5).replace(SELF, str(file))


def watch() -> None:
    """End a process that does what no reader of a card has to do."""

    def hook(event: str, arguments: Any) -> None:
        if event in FORBIDDEN or (event == "import" and arguments[0] == CANARY):
            raise SystemExit(f"{event} {arguments!r:.300}")

    sys.addaudithook(hook)
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    limit(resource.RLIMIT_AS, ROOM)()


def use(path: Path, clip: Path) -> None:
    """Load and predict; refused is code 3."""
    try:
        model = stillmotion.load(path, device="cpu")
        if not model.classes:
            model.classes = ["a", "b"]
        print(model(clip).label.encode("unicode_escape"))
    except StillmotionError as error:
        message = str(error)
        if "\n" in message or len(message) > 5000 or isinstance(error.__cause__, MemoryError):
            raise
        raise SystemExit(3) from error


def hostile(recipe: str) -> Trial:
    """Cards of what `train` wrote, with one field of another value."""

    def trial(world: World, row: Row) -> None:
        run = Run(world, recipe)
        clip, log, target = (
            next((world.folder / "clips").rglob("*.mp4")),
            world.folder / "log",
            world.folder / "m.safetensors",
        )
        with safe_open(run.out / "model.safetensors", "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            card = json.loads(file.metadata()["stillmotion"])
        card["training"] = {}
        usual = fork(lambda: use(run.out / "model.safetensors", clip), log, watch).wait()
        if usual.code:
            raise SystemExit(f"the undamaged card does not work: {usual.said}")
        slowest, largest = 0.0, 0
        for i, (path, value) in enumerate(row.draw.sample([(p, v) for p in places(card) for v in VALUES], row.count)):
            save_file(state, target, metadata={"stillmotion": changed(card, path, value, target)})
            child = fork(lambda: use(target, clip), log, watch).wait()
            slowest, largest = max(slowest, child.cpu), max(largest, child.peak - usual.peak)
            kind = {0: "works", 3: "refused"}.get(child.code)
            row.counts[kind or "fell"] += 1
            slow = f"{child.cpu:.1f} s" if child.cpu > SECONDS else ""
            row.check(slow if kind else f"code {child.code}: {child.said[-1500:]}", f"{i} {path} {value!r:.40}")
        row.note = f"at most {slowest:.1f} s of one core and {max(0, largest) / 1e6:.0f} MB more than the undamaged one"

    return trial


def hugging_face(world: World, row: Row) -> None:
    """Folders of a CLIP: an index, a configuration, statistics; of transformers and of open_clip."""
    (world.folder / "w").mkdir()
    sources = weights.seeds(world.folder / "w")
    for i in row:
        kind = ("hf", "open_clip")[i % 2]
        with tempfile.TemporaryDirectory() as place:
            target = weights.mutate(sources[kind], Path(place), row.draw)
            code = weights.attempt(lambda t=target: load_backbone(str(t)))
        row.counts[{weights.LOADED: "load", weights.REFUSED: "refused"}.get(code, "fell")] += 1
        row.check("" if code in (weights.LOADED, weights.REFUSED) else f"code {code}", f"{i} {kind}")


TRIALS: dict[str, tuple[Trial, int]] = {
    "hostile cards of evl": (hostile("evl"), 200),
    "hostile cards of vificlip": (hostile("vificlip"), 150),
    "damaged folders of Hugging Face and open_clip": (hugging_face, 50),
}

if __name__ == "__main__":
    sys.exit(main(TRIALS))
