"""The embedded data set: puppets, scenery, rendering."""

from importlib.util import find_spec

from stillmotion.errors import missing

if find_spec("PIL") is None:
    raise missing("demo")
