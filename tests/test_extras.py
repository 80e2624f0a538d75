"""What is not always installed: the exact line that installs it, and nothing else breaks."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stillmotion.errors import StillmotionError, missing, one_line

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def test_the_line_names_an_extra_of_the_project() -> None:
    assert str(missing("report", "a page")) == (
        "a page needs packages that are not installed; pip install 'stillmotion[report]'"
    )
    assert isinstance(missing("report", "a page"), StillmotionError)


def without(*packages: str) -> str:
    return f"import sys; sys.modules.update(dict.fromkeys({packages!r}))\n"


def test_training_evaluation_and_prediction_need_no_extra() -> None:
    code = "from pathlib import Path\n" + without(
        "matplotlib", "jinja2", "onnx", "transformers", "tensorboard", "torchmetrics", "pip", "pyarrow"
    )
    code += """
import stillmotion.experiment, stillmotion.classifier, stillmotion.eval.evaluate, stillmotion.libraries.classifier
from stillmotion.run_report import write_run_report
assert write_run_report(Path("none")) is None
from stillmotion.cli import main
for words in (["train", "evl", "--help"], ["eval", "--help"], ["predict", "--help"], ["embed", "--help"], ["list"]):
    try: main(words)
    except SystemExit as stop: assert not stop.code
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    line = "no page was written: a report needs packages that are not installed; pip install 'stillmotion[report]'\n"
    assert done.stderr == line


@pytest.mark.parametrize(
    ("packages", "code", "extra"),
    [
        (["matplotlib"], "import stillmotion.report.figures", "report"),
        (["jinja2"], "import stillmotion.report.page", "report"),
        (["PIL"], "from stillmotion.cli.explain import run; run(['zero_shot', 'a.mp4', '-o', 'a.html'])", "report"),
        (["PIL"], "from stillmotion.cli.report import run; run(['none'])", "report"),
        (["PIL"], "from stillmotion.cli.demo import run; run([])", "demo"),
        (["matplotlib"], "from stillmotion.cli.demo import run; run([])", "demo"),
        (["onnx"], "from stillmotion.weights.int8_wheel import openai_int8; openai_int8(Path('none'))", "int8"),
        (["transformers"], "from stillmotion.libraries.classifier import load_foreign; load_foreign('transformers:x')",
         "transformers"),
        (["transformers"], "from stillmotion.libraries.count import count_foreign; count_foreign('transformers:x')",
         "transformers"),
        (["pyarrow"], "from stillmotion.cli.results import *; form_of(Path('p.parquet'), PREDICTIONS)", "parquet"),
        (["pyarrow"], "from stillmotion.data.entries import *; read_listing(Path('m.parquet'))", "parquet"),
        (["imagehash"], "from stillmotion.datasets import audit; audit('none', 'none')", "audit"),
        (["tensorboard"], "from stillmotion.training.accelerator import *; "
         "make_accelerator(Train(track='tensorboard'), Path('none'))", "tensorboard"),
    ],
)  # fmt: skip
def test_what_is_missing_is_one_line(packages: list[str], code: str, extra: str) -> None:
    lines = [
        without(*packages) + "from pathlib import Path\nfrom stillmotion.errors import StillmotionError",
        f"try:\n    {code}",
        "except StillmotionError as error: print(error)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.stdout.endswith(f"needs packages that are not installed; pip install 'stillmotion[{extra}]'\n"), done
    assert len(done.stdout.splitlines()) == 1
    assert extra in PROJECT["optional-dependencies"]


def test_one_line_of_anything() -> None:
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("\x1b[31mred\x07\udcff\u202e é") == "\\x1b[31mred\\x07\\udcff\\u202e é"
