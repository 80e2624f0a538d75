"""Write into docs/tiny.md what the tiny CLIP knows of rendered stills.

python benchmarks/tiny_stills.py [--backbone tiny] [--stills 400] [--quick]
"""

from dataclasses import dataclass

import tyro
from sections import ROOT, markdown, write_section

from stillmotion.backbones.load import load_backbone
from stillmotion.progress import progress_bar
from stillmotion.stills import Answer, StillReader, questions

HEADER = ("question", "right", "95 %", "answers", "chance")


@dataclass(frozen=True)
class Options:
    """Which CLIP, and how many stills."""

    backbone: str = "tiny"
    """Any CLIP with a text tower."""
    stills: int = 400
    """Stills of each question."""
    quick: bool = False
    """Four stills of each question, printed and written nowhere."""


def row(answer: Answer) -> tuple[str, ...]:
    """One line of the table."""
    low, high = (100 * end for end in answer.interval)
    share = f"{100 * answer.accuracy:.1f} %"
    return answer.name, share, f"{low:.0f} to {high:.0f} %", str(answer.answers), f"{100 * answer.chance:.1f} %"


def main(options: Options) -> None:
    """Ask every question, and look captions and stills up by each other."""
    count = 4 if options.quick else options.stills
    reader, asked = StillReader(load_backbone(options.backbone)), questions()
    with progress_bar("asking", len(asked)) as advance:
        rows = []
        for question in asked:
            rows.append(row(reader.ask(question, count)))
            advance()
    among = 4 if options.quick else 100
    found, back = reader.retrieve(among)
    text = (
        f"{markdown(HEADER, rows)}\n\n{count} stills a question. Among {among} new stills and a long caption of each, "
        f"the nearest caption is the still's own for {100 * found:.0f} %, the nearest still the caption's for "
        f"{100 * back:.0f} % (chance {100 / among:.0f} %)."
    )
    print(text) if options.quick else write_section(ROOT / "docs" / "tiny.md", "stills", text)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
