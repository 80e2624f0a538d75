"""`stillmotion pretrain-tiny -o FILE`: a tiny CLIP from rendered stills and captions."""

import time
from collections.abc import Sequence

from stillmotion.cli.parse import parse


def run(words: Sequence[str]) -> None:
    """Pretrain, and say what to do with it."""
    from stillmotion.pretrain import Pretrain, done, pretrain

    options: Pretrain = parse(Pretrain, words, "stillmotion pretrain-tiny")
    started = time.perf_counter()
    loss = pretrain(options)
    print(done(options, time.perf_counter() - started, loss))
    print(f'try it: stillmotion predict zero_shot --backbone {options.out} --labels "wave, sit" VIDEO')
