"""The shape of the code, enforced: sizes, import directions, one file per method with its page, recipe and test."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "stillmotion"
FILES = sorted(PACKAGE.rglob("*.py"))
FILE_LINES, FUNCTION_LINES, ARGUMENTS = 300, 60, 8

BASE = {"errors", "files", "progress", "version"}
# Which parts of the package a part may import; the parts above know those below and never the other way round.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "progress": {"errors"},
    "devices": {"errors"},
    "files": {"errors"},
    "data": BASE,
    "actors": BASE | {"data"},
    "datasets": BASE | {"data", "report"},
    "models": {"errors", "progress"},
    "weights": BASE,
    "backbones": BASE | {"data", "models", "weights"},
    "training": BASE | {"data", "devices"},
    "eval": BASE | {"data"},
    "features": BASE | {"data", "models", "backbones"},
    "methods": {"errors", "models", "backbones", "training"},
    "recipes": BASE | {"data", "methods", "training"},
    "checkpoint": BASE | {"data", "models", "backbones", "weights", "methods"},
    "start": BASE | {"models", "weights", "methods", "checkpoint"},
    "prediction": {"errors"},
    "explain": BASE | {"data", "models", "prediction"},
    "classifier": BASE | {"data", "devices", "eval", "explain", "models", "checkpoint", "prediction"},
    "open_vocabulary": BASE | {"data", "backbones", "methods", "classifier"},
    "releases": BASE | {"data", "models", "backbones", "weights", "methods", "checkpoint"},
    "official": BASE | {"data", "recipes", "releases", "classifier"},
    "api": BASE | {"data", "models", "training", "eval", "methods", "recipes", "classifier", "experiment", "auto"},
    "libraries": BASE | {"data", "weights", "models", "backbones", "classifier"},
    "pretrain": BASE | {"actors", "data", "models", "backbones", "training"},
    "stills": BASE | {"actors", "data", "models", "backbones", "eval"},
    "count": BASE | {"models", "backbones", "training", "methods"},
    "throughput": BASE | {"backbones", "devices", "methods"},
    "compare": BASE | {"eval", "report", "training"},
    "published": BASE | {"backbones", "count", "methods"},
    "source": BASE | {"data", "models", "backbones", "features", "recipes", "checkpoint"},
    "assemble": BASE
    | {"data", "methods", "models", "backbones", "training", "eval", "recipes", "source", "checkpoint", "start"},
    "held_out": BASE | {"data", "models", "backbones", "training", "eval", "recipes", "source", "assemble"},
    "experiment": BASE
    | {"data", "models", "backbones", "training", "eval", "recipes", "source", "checkpoint", "assemble", "held_out"}
    | {"origin"},
    "sweep": BASE | {"data", "recipes", "training", "experiment"},
    "candidates": BASE | {"eval", "recipes", "experiment"},
    "average": BASE | {"eval", "methods", "origin", "recipes", "training", "checkpoint", "experiment"},
    "search": BASE
    | {"data", "models", "training", "eval", "recipes", "source", "checkpoint", "average", "experiment", "candidates"},
    "auto": BASE | {"data", "training", "eval", "recipes", "experiment", "candidates", "search"},
    "origin": BASE,
    "bench": BASE
    | {
        *("data", "datasets", "training", "eval", "methods", "recipes", "source", "origin"),
        *("assemble", "experiment", "auto", "classifier"),
    },
    "report": BASE | {"data", "eval", "explain", "classifier", "checkpoint", "published"},
    "run_report": BASE | {"classifier", "report"},
    "demo": BASE | {"actors", "auto", "classifier", "data", "eval", "experiment", "origin", "recipes", "report"},
}
# Rooms that serve every method and name none, but where a docstring gives a source.
SHARED = ("training", "features", "weights", "models", "backbones", "eval", "explain", "report")
TOP = {"__init__", "__main__", "cli"}


def part(path: Path) -> str:
    """The top-level module or folder that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "stillmotion":
            yield from ([node.module] if "." in node.module else [f"stillmotion.{a.name}" for a in node.names])
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "stillmotion")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_sizes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= FUNCTION_LINES, f"{node.name} is too long"
            named = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len([a for a in named if a not in ("self", "cls")])
            assert count <= ARGUMENTS, f"{node.name} takes {count} arguments"


@pytest.mark.parametrize("path", [f for f in FILES if part(f) not in TOP], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_import_directions(path: Path) -> None:
    here = part(path)
    for module in imports(path):
        there = ([*module.split("."), "__init__"])[1]
        assert there == here or there in MAY_IMPORT[here], f"{here} must not import {module}"


def test_no_import_cycles() -> None:
    """Of any kind: imports for types and inside functions count."""
    modules = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in FILES}

    def known(name: str) -> str:
        return name if name in modules else name.rpartition(".")[0]

    graph = {name: {known(m) for m in imports(file)} - {name} for name, file in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_shared_rooms_name_no_method() -> None:
    from stillmotion.methods import METHODS

    words = {w.lower() for name, kind in METHODS.items() for w in (name, kind.__name__)} - {"step"}
    for path in (f for f in FILES if part(f) in SHARED):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
        for node in ast.walk(tree):
            text = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                text = node.value
            found = words & set(re.findall(r"[a-z0-9]+(?:_[a-z0-9]+)*", text.lower())) if isinstance(text, str) else ()
            assert not found, f"{path}:{getattr(node, 'lineno', 0)} names {found}"


def test_every_part_has_a_rule() -> None:
    assert {part(f) for f in FILES} - TOP == set(MAY_IMPORT)


def test_methods_do_not_know_each_other() -> None:
    for path in (PACKAGE / "methods").glob("*.py"):
        if path.name != "__init__.py":
            others = {m for m in imports(path) if m.startswith("stillmotion.methods.")}
            assert others <= {"stillmotion.methods.base"}, path


def test_every_method_has_its_file_test_page_and_recipe() -> None:
    from stillmotion.methods import METHODS
    from stillmotion.recipes import RECIPES

    tests = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests" / "methods").glob("*.py"))
    for name, method in METHODS.items():
        assert method.__module__ == f"stillmotion.methods.{name}"
        assert f"{method.__name__}(" in tests, f"no test of {name}"
        assert (ROOT / "docs" / "methods" / f"{name}.md").is_file(), f"no page of {name}"
        assert type(RECIPES[name]().method) is method, f"no recipe {name}"


def test_names_that_mean_not_designed() -> None:
    assert not [p for p in PACKAGE.rglob("*") if p.stem in ("utils", "util", "helpers", "common", "misc", "core")]


def test_public_functions_say_what_they_do() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path} has no docstring"
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"


def test_nothing_unsafe_is_called() -> None:
    """No pickle is executed and no TorchScript is run."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                assert call not in ("torch.jit.load", "pickle.load", "pickle.loads", "eval", "exec", "os.system"), path
                if call == "torch.load":
                    assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path
                if call.endswith("set_level"):
                    raise AssertionError("PyAV can deadlock when its log level is set")


def test_no_host_names_and_no_paths_of_a_machine() -> None:
    pattern = re.compile(r"pypi\.org|pythonhosted|(?<![\w.])/(?:home|root|work|Users)/")
    tracked = [
        p for p in ROOT.rglob("*") if p.suffix in (".py", ".md", ".toml", ".html", ".json") or p.name == "Makefile"
    ]
    for path in tracked:
        inside = path.relative_to(ROOT).parts
        if inside[0] in (".venv", "runs", ".git") or path == Path(__file__):
            continue
        assert not pattern.search(path.read_text(encoding="utf-8")), path


README = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").is_file() else ""


def test_readme() -> None:
    lines = README.splitlines()
    assert 0 < len(lines) <= 150
    assert any(line.startswith("```") for line in lines[:30]), "runnable code before line 30"
    for folder in sorted({part(f) for f in FILES if f.parent != PACKAGE}):
        assert f"{folder}/" in README, f"the file tree lacks {folder}/"


def test_walk_names_what_exists() -> None:
    """docs/walk.md speaks of files and functions in backticks; each must be there."""
    text = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
    files = re.findall(r"`([\w/]+\.py)(?::\w+)?`", text)
    assert len(files) >= 10
    for name in files:
        assert (PACKAGE / name).is_file() or (ROOT / name).is_file(), name
    for file, function in re.findall(r"`([\w/]+\.py):(\w+)`", text):
        text = (PACKAGE / file).read_text(encoding="utf-8")
        assert f"def {function}(" in text or f"class {function}" in text, f"{file}:{function}"
