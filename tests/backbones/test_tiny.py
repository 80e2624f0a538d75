"""The tiny CLIP in the package: it is the file that it was, loads like any other, and knows stills."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stillmotion.actors.benchmark import BenchmarkSpec, write_benchmark
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.tiny import FILE, IDS, ROWS
from stillmotion.errors import WeightsError
from stillmotion.files import sha256
from stillmotion.models.words import unknown_words
from stillmotion.open_vocabulary import from_backbone
from stillmotion.stills import DIRECTIONS, StillReader, questions
from stillmotion.weights.readers import read_safetensors

SHA256 = "8d759df611df877d0c45a352b84f80a876b0862a6592f5ee86e4a823d900d9c4"


@pytest.fixture(scope="module")
def weights():
    return load_backbone("tiny")


def test_the_file_is_the_one_that_was_pretrained() -> None:
    assert sha256(FILE) == SHA256, "pretrained anew? then docs/tiny.md needs its new numbers too"
    assert FILE.stat().st_size <= 3_000_000


def test_it_is_a_clip_whose_last_four_blocks_can_be_read(weights) -> None:
    backbone = weights.backbone
    assert (backbone.kind, backbone.layers, backbone.width, backbone.grid) == ("clip", 4, 128, (8, 8))
    assert backbone.text is not None and backbone.text.vocab_size == 49408


def test_tokens_without_a_row_are_zeros(weights) -> None:
    ids = read_safetensors(FILE)[IDS].long()
    table = weights.state[ROWS]
    assert table[ids].any(dim=1).all()
    table = table.clone()
    table[ids] = 0
    assert not table.any()


def test_unknown_words_are_named(weights) -> None:
    table = torch.nn.Embedding.from_pretrained(weights.state[ROWS])
    assert unknown_words(table, ["pick up the red ball", "Surf_waves", "surf"]) == ["Surf", "surf"]
    assert unknown_words(table, []) == []
    assert unknown_words(torch.nn.Embedding(49408, 4), ["surf"]) == [], "a whole table knows every word"
    assert unknown_words(None, ["surf"]) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({IDS: torch.tensor([1, 2], dtype=torch.int32)}, "one integer for each row"),
        ({IDS: torch.zeros(206, 1, dtype=torch.int32)}, "one integer for each row"),
        ({IDS: torch.full((206,), 50000, dtype=torch.int32)}, "must be 0 to 49407"),
        ({IDS: torch.full((206,), -1, dtype=torch.int32)}, "must be 0 to 49407"),
        ({IDS: torch.zeros(206)}, "one integer for each row"),
    ],
)
def test_damaged_ids_are_refused(change, message: str, tmp_path: Path) -> None:
    state = read_safetensors(FILE)
    assert len(state[IDS]) == 206
    save_file(state | change, tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match=message):
        load_backbone(str(tmp_path / "bad.safetensors"))


def test_sizes_of_ones_own_are_refused() -> None:
    with pytest.raises(WeightsError, match="activation"):
        load_backbone("tiny", activation="gelu")


def test_zero_shot_names_what_it_does_not_know_and_reads_clips(tmp_path: Path, capsys) -> None:
    clips = write_benchmark(tmp_path / "world", BenchmarkSpec(train=1, val=1), processes=1, tasks=("supervised",))
    classifier = from_backbone("zero_shot", ["wave", "surf"], backbone="tiny")
    assert "never seen 'surf'" in capsys.readouterr().err
    prediction = classifier(clips / "supervised" / "val" / "wave" / "000.mp4")
    assert set(prediction.scores) == {"wave", "surf"} and abs(sum(prediction.scores.values()) - 1) < 1e-4


@pytest.mark.parametrize("question", questions(), ids=lambda q: q.name)
def test_it_knows_stills_better_than_chance_and_no_direction_of_time(weights, question) -> None:
    answer = StillReader(weights).ask(question, 100, seed=1)
    if question.answers == DIRECTIONS:
        assert abs(answer.accuracy - 0.5) < 0.2, answer
    else:
        assert answer.interval[0] > answer.chance, answer
