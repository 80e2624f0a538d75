"""Results as pages that need no other file: one run, several side by side, the demo, an explanation."""

from importlib.util import find_spec

from stillmotion.errors import missing

if not all(find_spec(name) for name in ("matplotlib", "jinja2", "PIL")):
    raise missing("report", "a report")
