"""What shuffled, reversed and frozen clips say, in one sentence."""

from typing import Any

import pytest

from stillmotion.eval.order import in_words, needing
from stillmotion.report.order_test import order_table
from stillmotion.report.page import Bar
from tests.report.folders import AUTO

ORDER: dict[str, Any] = AUTO["order"]


def test_a_class_needs_the_order_where_losing_it_costs_videos() -> None:
    assert needing(ORDER) == ["run", "sit"]
    table = order_table(ORDER)
    assert table.header == (
        "class",
        "as filmed",
        "frames shuffled",
        "played backwards",
        "one frame repeated",
        "needs order",
    )
    assert {row[0]: row[-1] for row in table.rows} == {"all videos": "", "jump": "no", "run": "yes", "sit": "yes"}
    assert table.rows[3][3] == Bar("20 %", 0.2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "The clip backwards gives 80 %, order adds 13 points; run and sit need it."),
        ({"reversed": 0.92}, "Appearance alone gives 91 %, order adds 2 points; run and sit need it."),
        ({"reversed": 0.92, "full": 0.92}, "Appearance alone gives 91 %, order adds 1 point; run and sit need it."),
        (
            {"reversed": 0.92, "full": 0.913},
            "Appearance alone gives 91 %, order adds less than a point; run and sit need it.",
        ),
        (
            {"reversed": 0.95, "full": 0.9},
            "Appearance alone gives 91 %, the order of frames adds nothing; run and sit need it.",
        ),
        ({"per_class": {}, "reversed": 0.92}, "Appearance alone gives 91 %, order adds 2 points; no class needs it."),
        (
            {"per_class": {"sit": ORDER["per_class"]["sit"]}},
            "The clip backwards gives 80 %, order adds 13 points; sit needs it.",
        ),
        (
            {"full": 0.91, "shuffled": 0.91, "reversed": 0.91, "per_class": {}},
            "This model gives 91 % in any order of the frames: it uses none.",
        ),
        (  # of three classes 33 % are chance, and 40 % a tenth of what is left
            {"full": 0.39, "shuffled": 0.2},
            "This model gives 39 %, hardly more than chance, so it cannot tell what order is worth.",
        ),
        (
            {"full": 0.41, "shuffled": 0.2, "reversed": 0.3},
            "Appearance alone gives 20 %, order adds 21 points; run and sit need it.",
        ),
    ],
)
def test_the_sentence(change: dict[str, Any], words: str) -> None:
    assert in_words(ORDER | change) == words
