"""The command line: a few commands, one line for an error, and no PyTorch until a command needs it."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from stillmotion.errors import StillmotionError, did_you_mean, one_line

COMMANDS = {
    "train": "train a recipe on labeled videos: stillmotion train evl --data my_videos",
    "sweep": "train many settings of a recipe at once: stillmotion sweep evl --data my_videos --lr 1e-4 1e-3",
    "bench": "methods side by side by a protocol: stillmotion bench few-shot linear_probe evl --data my_videos",
    "predict": "classify videos: stillmotion predict runs/evl/model.safetensors surf.mp4",
    "embed": "one vector per video: stillmotion embed runs/evl/model.safetensors my_videos --out embeddings.npz",
    "explain": "show where a model looks: stillmotion explain runs/evl/model.safetensors surf.mp4 -o page.html",
    "eval": "score a model on labeled videos: stillmotion eval runs/evl/model.safetensors --data test_videos",
    "report": "what a run got wrong, or several side by side, as a page: stillmotion report runs/evl",
    "compare": "what tells two runs apart, and whether by luck: stillmotion compare runs/a runs/b",
    "ensemble": "average the scores of several models: stillmotion ensemble runs/a runs/b",
    "encode": "fill the feature cache of a recipe, without training: stillmotion encode evl --data my_videos",
    "cache": "what the feature cache holds; verify, remove, merge: stillmotion cache ls",
    "convert": "read or write a published checkpoint: stillmotion convert k400.pth --method xclip -o xclip.safetensors",
    "count": "parameters and arithmetic of a method, tower by tower: stillmotion count evl --num-frames 16",
    "data": "manifests of known data sets or any folder, audits, splits: stillmotion data prepare ucf101 --help",
    "results": "numbers of the literature: stillmotion results --data UCF101 --setting zero-shot",
    "list": "list methods, recipes and where CLIP weights come from",
    "pretrain-tiny": "make a tiny CLIP of rendered stills and captions: stillmotion pretrain-tiny -o t.safetensors",
    "demo": "render the embedded data set, train and compare, write a report",
}

GO_ON = ("train", "sweep", "bench", "encode", "embed", "pretrain-tiny", "demo")
"""Commands that go on where they were stopped, as do those that are given --out for their results."""
# A module `list` would hide the built-in one, and `results.py` is the files that `predict` and `embed` write.
MODULES = {"list": "catalog", "results": "published", "pretrain-tiny": "pretrain_tiny"}

HELP = """usage: stillmotion COMMAND [options]

Turn still-image CLIP models into video recognizers.

{commands}

stillmotion COMMAND --help shows a command's options, stillmotion --version the version."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 0, with 2 and one line on standard error, or with 130 when stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _command(words)
        sys.stdout.flush()
    except StillmotionError as error:
        _exit(f"error: {one_line(error)}", 2)
    except KeyboardInterrupt as stop:
        _exit(_stopped(words, str(stop)), 130)
    except OSError as error:  # mostly what printing met: a closed pipe, of which nothing is said, or a full disk
        sys.stdout = Path(os.devnull).open("w")  # what is left to print cannot be  # noqa: SIM115
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        _exit(f"error: {one_line(error)}; free the disk or mend the file, and run again", 2)
    except RuntimeError as error:  # PyTorch's signal handler raises wherever the main thread is
        if isinstance(error.__context__, KeyboardInterrupt):  # Ctrl-C in the midst of a mode of PyTorch
            _exit(_stopped(words), 130)
        raise


def _command(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP.format(commands="\n".join(f"  {name:8} {text}" for name, text in COMMANDS.items())))
    elif words[0] == "--version":
        import stillmotion

        print(f"stillmotion {stillmotion.__version__}")
    elif words[0] not in COMMANDS:
        raise StillmotionError(f"there is no command {words[0]!r}{did_you_mean(words[0], COMMANDS)}")
    else:
        import_own_modules()
        import_module(f"stillmotion.cli.{MODULES.get(words[0], words[0])}").run(words[1:])


def import_own_modules() -> None:
    """Import what $STILLMOTION_IMPORT names (MODULE,MODULE), for methods of one's own; this folder counts.
    Raises `StillmotionError`: there is no such module.
    """
    names = [name.strip() for name in os.environ.get("STILLMOTION_IMPORT", "").split(",") if name.strip()]
    if names and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise StillmotionError(f"cannot import {name!r}, which STILLMOTION_IMPORT names ({error})") from error


def _stopped(words: Sequence[str], where: str = "") -> str:
    """What to say of a stopped command: where, if that is known; and whether the same one goes on."""
    if where:
        return where
    kept = words[0] in GO_ON or (words[0] == "predict" and any(word.partition("=")[0] == "--out" for word in words))
    return "stopped; the same command goes on from here" if kept else "stopped"


def _exit(message: str, code: int) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(code)
