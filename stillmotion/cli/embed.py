"""`stillmotion embed MODEL VIDEO... --out embeddings.npz`: one vector per video."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from stillmotion.cli.many import ManyVideos, go_through, open_results
from stillmotion.cli.model_choice import open_model
from stillmotion.cli.parse import parse


@dataclass(frozen=True, kw_only=True)
class Embed(ManyVideos):
    """Embed videos: for each the vector that the model's head is given, of length 1 where classes are open."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """A .npz file (arrays paths, embeddings, failed, errors, model) or a .parquet file (columns path, embedding, error,
    model); the same command goes on where it was stopped, and adds what is new."""


def run(words: Sequence[str]) -> None:
    """Embed, and write; those that cannot be read are all named, and the others are done."""
    options: Embed = parse(Embed, words, "stillmotion embed")
    paths = options.paths("embed")
    from stillmotion.cli.results import EMBEDDINGS, form_of

    form_of(options.out, EMBEDDINGS, paths)  # before the model is read
    model = open_model(options, options.names(), named=False)
    embeddings = partial(model.embeddings, batch=options.batch_views, workers=options.workers)
    embeddings([])  # refuses a model without embeddings
    results = open_results(options.out, EMBEDDINGS, model, False, options)
    go_through(paths, embeddings, lambda found: {"embedding": found.tolist()}, lambda path, result: None, results)
