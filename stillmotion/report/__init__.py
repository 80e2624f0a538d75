"""Results as one self-contained page."""

from importlib.util import find_spec

from stillmotion.errors import missing

if not (find_spec("matplotlib") and find_spec("jinja2")):
    raise missing("report", "a report")
