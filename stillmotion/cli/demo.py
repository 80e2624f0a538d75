"""`stillmotion demo`: the main job on the embedded data set."""

from collections.abc import Sequence
from importlib.util import find_spec

from stillmotion.cli.parse import parse
from stillmotion.cli.table import show
from stillmotion.errors import missing


def run(words: Sequence[str]) -> None:
    """Train, compare, print the table and the command to go on with."""
    if not all(map(find_spec, ("PIL", "matplotlib", "jinja2"))):
        raise missing("demo", "the demo")
    from stillmotion.demo import Demo, demo, table

    options: Demo = parse(Demo, words, "stillmotion demo")
    rows = demo(options)
    header, *lines = table(rows)
    show(header, lines)
    model = options.out / "auto" / "model.safetensors"
    print(f"\nreport: {options.out / 'report.html'}")
    print(f"try it: stillmotion predict {model} my_video.mp4")
