"""CLIPs with few words: `tiny`, which lies in the package, and files that `stillmotion pretrain-tiny` writes.

Such a file holds float16 tensors with OpenAI's names, but of the token table only the rows of words that its captions
had (`token_embedding.weight`, (N, D)) with their ids (`token_embedding.ids`, (N,) int32). All other rows are zeros: a
word that was never seen says nothing, and `models/words.py` names it to the user.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.errors import WeightsError
from stillmotion.files import atomic_write

TINY = "tiny"
FILE = Path(__file__).with_name("tiny.safetensors")
ROWS, IDS = "token_embedding.weight", "token_embedding.ids"
VOCABULARY = 49408
"""Rows of CLIP's token table."""


def with_all_rows(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Give every token of CLIP's vocabulary the row that the file holds, or zeros. Other files stay as they are.

    Raises `WeightsError`: the ids are not those of rows of such a table.
    """
    whole = dict(state)
    ids = whole.pop(IDS, None)
    if ids is None:
        return whole
    rows = whole.get(ROWS)
    if rows is None or rows.ndim != 2 or ids.ndim != 1 or ids.is_floating_point() or len(ids) != len(rows):
        raise WeightsError(f"{source}: {IDS} must be one integer for each row of {ROWS}; pretrain it again")
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < VOCABULARY:
        raise WeightsError(f"{source}: {IDS} must be 0 to {VOCABULARY - 1}; pretrain it again")
    table = torch.zeros(VOCABULARY, rows.shape[1])
    table[ids.long()] = rows.float()
    return whole | {ROWS: table}


def write_few_words(path: Path, state: Mapping[str, Tensor], ids: Tensor) -> None:
    """Write a CLIP whose token table has the rows `ids` alone, in float16. Raises `DiskError`: it cannot be written."""
    half = {name: tensor.detach().half().contiguous() for name, tensor in state.items()}
    with atomic_write(path) as temporary:
        save_file(half | {IDS: ids.to(torch.int32)}, temporary)
