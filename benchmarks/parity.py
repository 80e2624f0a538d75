"""Write docs/parity.md: every published count beside the release's arithmetic and ours, and the proofs of outputs.

python benchmarks/parity.py [--quick]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import tyro
from parity_words import EVL_PARAMETERS, EVL_WORK, INTRO, LIKE_FOR_LIKE, OTHER_PARAMETERS, OTHER_WORK, OUTPUTS
from proofs import PROOFS, proof_line
from sections import ROOT, Options, markdown

from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.count import Counts, Part, count
from stillmotion.methods import (
    A5,
    EVL,
    XCLIP,
    ActionCLIP,
    AttentiveProbe,
    LinearProbe,
    Method,
    Step,
    ViFiCLIP,
)

PAGE = ROOT / "docs" / "parity.md"
VIEWS = 3  # EVL prints its work over three views, the others over one
B32, B16, L14, L14_336 = "ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336"


@dataclass(frozen=True)
class EVLRow:
    """One size of EVL: the work printed for three views and the new parameters printed, in G and M; empty: none."""

    name: str
    clip: str
    frames: int
    layers: int
    classes: int
    work: str
    parameters: str
    why: str


@dataclass(frozen=True)
class Row:
    """A printed figure, what to compare with it, and why they differ."""

    name: str
    published: str
    value: Callable[[], tuple[str, ...]]
    why: str


EVL_ROWS = (
    EVLRow("K400 B/16 8f", B16, 8, 4, 400, "444", "28.70", "without T-CA"),
    EVLRow("K400 B/16 16f", B16, 16, 4, 400, "888", "", "without T-CA"),
    EVLRow("K400 B/16 32f", B16, 32, 4, 400, "1777", "28.78", "without T-CA; 4 x 444.2"),
    EVLRow("K400 B/16 8f, 1 layer", B16, 8, 1, 400, "", "7.41", "without T-CA"),
    EVLRow("K400 L/14 8f", L14, 8, 4, 400, "2022", "", "with T-CA"),
    EVLRow("K400 L/14 16f", L14, 16, 4, 400, "4044", "", "with T-CA; 2 x 2022"),
    EVLRow("K400 L/14 32f", L14, 32, 4, 400, "8088", "", "with T-CA; 4 x 2022"),
    EVLRow("K400 L/14@336 32f", L14_336, 32, 4, 400, "18196", "",
           "8088 x (336/224)^2, which forgets that attention is quadratic in tokens"),
    EVLRow("SSv2 B/16 8f, 12 layers", B16, 8, 12, 174, "512", "", "nearest with T-CA"),
    EVLRow("SSv2 B/16 16f, 12 layers", B16, 16, 12, 174, "1023", "", "nearest with T-CA; 2 x 511.7"),
    EVLRow("SSv2 B/16 32f, 12 layers", B16, 32, 12, 174, "2047", "", "nearest with T-CA; 4 x 511.7"),
    EVLRow("SSv2 L/14 8f, 24 layers", L14, 8, 24, 174, "2411", "", "with T-CA; 24 layers is inferred from this"),
    EVLRow("SSv2 L/14 32f, 24 layers", L14, 32, 24, 174, "9641", "", "with T-CA"),
    EVLRow("SSv2 L/14@336 32f, 24 layers", L14_336, 32, 24, 174, "24259", "", "with T-CA"),
)  # fmt: skip


@cache
def counts(method: Method, clip: str = B16, classes: int = 400, text_tokens: int | None = None) -> Counts:
    """Count once what several rows read."""
    return count(method, describe(CLIPConfig.published(clip)), classes, text_tokens)


def evl(row: EVLRow, cross_attention: bool) -> Counts:
    """Count a size of EVL, with or without T-CA."""
    method = EVL(num_frames=row.frames, layers=row.layers, cross_attention=cross_attention)
    return counts(method, row.clip, row.classes)


def evl_work(row: EVLRow) -> list[str]:
    """A line of EVL's work."""
    bare, full = (evl(row, cross).video for cross in (False, True))
    per_view = [bare.plain_macs, full.plain_macs, bare.macs, full.macs]
    cells = [f"{macs / 1e9:.2f} ({VIEWS * macs / 1e9:.1f})" for macs in per_view]
    off = [_off(row.work, VIEWS * part.plain_macs / 1e9) for part in (bare, full)]
    return [row.name, row.work, *cells[:2], *off, *cells[2:], row.why]


def evl_parameters(row: EVLRow) -> list[str]:
    """A line of EVL's parameters."""
    cells = [f"{evl(row, cross).total.new / 1e6:.3f}" for cross in (False, True)]
    return [row.name, row.parameters, *cells, row.why.split(";")[0] if row.parameters else ""]


def _off(published: str, counted: float) -> str:
    return f"{100 * (float(published) / counted - 1):+.1f} %" if published else ""


def work(method: Method, clip: str = B16, of: Callable[[Counts], Part] = lambda c: c.video) -> tuple[str, ...]:
    """GMAC of one view, the release's and ours."""
    part = of(counts(method, clip))
    return f"{part.plain_macs / 1e9:.2f}", f"{part.macs / 1e9:.2f}"


def work_line(row: Row) -> list[str]:
    """A line of the work of the others."""
    release, ours = row.value()
    return [row.name, row.published, release, _off(row.published, float(release)), ours, row.why]


def text_work(method: Method, tokens: int) -> tuple[str, ...]:
    """GMAC of one class name: the whole context, and the longest prompt."""
    whole, cut = counts(method).text, counts(method, text_tokens=tokens).text
    return f"{whole.macs / 400 / 1e9:.2f}", f"{cut.macs / 400 / 1e9:.2f}"


X_CLIP_WHY = "cross-frame tower, integration and prompts of 400 classes; what is left is element-wise work"
WORK_ROWS = (
    Row("ViFi-CLIP B/16 16f", "281", lambda: work(ViFiCLIP(), of=lambda c: c.visual), "the image tower alone"),
    Row("ViFi-CLIP B/16 16f, 10 prompts", "", lambda: work(ViFiCLIP(vision_prompts=10)), "207 tokens a frame, not 197"),
    Row("X-CLIP B/32 8f", "39", lambda: work(XCLIP(num_frames=8), B32), X_CLIP_WHY),
    Row("X-CLIP B/32 16f", "75", lambda: work(XCLIP(num_frames=16), B32), "the same"),
    Row("X-CLIP B/16 8f", "145", lambda: work(XCLIP(num_frames=8)), "the same"),
    Row("X-CLIP B/16 16f", "287", lambda: work(XCLIP(num_frames=16)), "the same"),
    Row("X-CLIP B/16 32f", "571", lambda: work(XCLIP(num_frames=32)), "the same"),
    Row("X-CLIP L/14 8f", "658", lambda: work(XCLIP(num_frames=8), L14), "the same"),
    Row("X-CLIP L/14@336 16f", "3086", lambda: work(XCLIP(num_frames=16), L14_336), "the same"),
    Row("ActionCLIP B/16 32f", "563", lambda: work(ActionCLIP(num_frames=32)),
        "32 frames, printed beside 16 frames of X-CLIP (287) and ViFi-CLIP (281)"),
    Row("text tower B/16, one class", "", lambda: text_work(ViFiCLIP(), 14),
        "ours stops at the longest prompt (14 tokens on K400) and runs once, ViFi-CLIP's release in every forward"),
)  # fmt: skip


def millions(*terms: int) -> tuple[str, ...]:
    """A sum of parameters, exact and in millions."""
    return f"{sum(terms):,}", f"{sum(terms) / 1e6:.3f}"


def parameter_line(row: Row) -> list[str]:
    """A line of the parameters of the others."""
    return [row.name, row.published, *row.value(), row.why]


def _blocks_only(method: A5) -> int:
    """Matrices of the temporal transformer: what is left without biases, norms and tables."""
    return method.layers * 12 * CLIPConfig.published(B16).embed_dim ** 2


def _vifi_with_twice_proj() -> tuple[str, ...]:
    clip = CLIPConfig.published(B16)
    return millions(counts(ViFiCLIP()).total.trained, clip.vision.width * clip.embed_dim)


PROMPTS = {"tuned": "prompts", "vision_prompts": 10, "text_prompts": 10}
NOVEL = {"tuned": "prompts", "vision_prompts": 16, "text_prompts": 16, "vision_depth": 9, "text_depth": 9}
PARAMETER_ROWS = (
    Row("ViFi-CLIP, trained", "124.7 M", lambda: millions(counts(ViFiCLIP()).total.trained),
        "CLIP without its token table, which the release never trains"),
    Row("the same, the projection twice", "124.7 M", _vifi_with_twice_proj,
        "the only simple sum found that prints as 124.7"),
    Row("X-CLIP, trained", "131.5 M", lambda: millions(counts(XCLIP()).total.trained), "text tower excluded; 8 frames"),
    Row("ActionCLIP, all", "168.5 M", lambda: millions(counts(ActionCLIP()).total.parameters),
        "token table included; rounded it is 168.6"),
    Row("the same, no frame positions", "168.5 M",
        lambda: millions(counts(ActionCLIP()).total.parameters, -77 * 512), "77 positions, 512 wide, left out"),
    Row("ActionCLIP in EVL's table 2", "105.15 M",
        lambda: millions(counts(ActionCLIP()).visual.parameters, counts(ActionCLIP()).temporal.parameters),
        "image tower and temporal head; text excluded"),
    Row("A5, trained", "6,352,384", lambda: millions(counts(A5()).total.trained), "counted in the release"),
    Row("A6, trained", "9,504,768", lambda: millions(counts(A5(layers=3)).total.trained), "counted in the release"),
    Row("A6 in EVL's table 2", "9.43 M", lambda: millions(_blocks_only(A5(layers=3))),
        "an estimate there; this is the matrices of three blocks alone"),
    Row("image tower tuned alone", "86,192,640", lambda: millions(counts(ViFiCLIP(tuned="image")).total.trained),
        "counted in the release"),
    Row("text tower tuned alone", "38,131,200", lambda: millions(counts(ViFiCLIP(tuned="text")).total.trained),
        "counted in the release"),
    Row("prompts, few-shot", "153,600", lambda: millions(counts(ViFiCLIP(**PROMPTS)).total.trained),
        "10 + 10 in 12 layers"),
    Row("prompts, base-to-novel", "184,320", lambda: millions(counts(ViFiCLIP(**NOVEL)).total.trained),
        "16 + 16 in 9 layers"),
    Row("EVL's frozen tower", "85,798,656", lambda: millions(counts(EVL()).visual.parameters),
        "counted in the release, whose patch embedding has 768 biases, all zero"),
)  # fmt: skip

LIKE_ROWS: tuple[tuple[str, Method], ...] = (
    ("EVL", EVL(num_frames=16)),
    ("EVL without T-CA", EVL(num_frames=16, cross_attention=False)),
    ("ViFi-CLIP", ViFiCLIP(num_frames=16)),
    ("ActionCLIP", ActionCLIP(num_frames=16)),
    ("X-CLIP", XCLIP(num_frames=16)),
    ("A5", A5(num_frames=16)),
    ("linear probe", LinearProbe(num_frames=16)),
    ("attentive probe", AttentiveProbe(num_frames=16)),
    ("STEP", Step(num_frames=16)),
)


def like_for_like(name: str, method: Method) -> list[str]:
    """A line of everything counted in one way."""
    c = counts(method)
    sizes = [f"{n / 1e6:.2f} M" for n in (c.total.parameters, c.total.trained, c.total.new)]
    text = f"{c.text.macs / 1e9:.0f}" if c.text_tokens else ""
    return [name, *sizes, f"{c.video.plain_macs / 1e9:.2f}", f"{c.video.macs / 1e9:.2f}", text]


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose last column is text too."""
    return markdown(header, lines).replace("---: |\n", "--- |\n", 1)


def page(rows: slice = slice(None)) -> str:
    """The document, with all rows or some of each table."""
    work_header = ["model", "published", "release", "", "off", "", "ours", "", "the published number"]
    work_header[2:8] = [f"{n}, {t}" for n in ("release", "published to release", "ours") for t in ("no T-CA", "T-CA")]
    sections = [
        (EVL_WORK, table(work_header, [evl_work(row) for row in EVL_ROWS[rows]])),
        (OTHER_WORK, table(
            ["model", "published", "release", "published to release", "ours", "why"],
            [work_line(row) for row in WORK_ROWS[rows]],
        )),
        (EVL_PARAMETERS, table(
            ["model", "published", "no T-CA", "T-CA", "the published number"],
            [evl_parameters(row) for row in EVL_ROWS[rows]],
        )),
        (OTHER_PARAMETERS, table(
            ["what", "published", "counted", "in millions", "why"],
            [parameter_line(row) for row in PARAMETER_ROWS[rows]],
        )),
        (LIKE_FOR_LIKE, markdown(
            ["model", "parameters", "trained", "new", "GMAC, as written", "GMAC, ours", "text, GMAC"],
            [like_for_like(*row) for row in LIKE_ROWS[rows]],
        )),
        (OUTPUTS, markdown(
            ["method", "against", "what", "test", "tolerance"], [proof_line(proof) for proof in PROOFS[rows]]
        ).replace("---:", "---")),
    ]  # fmt: skip
    return "\n".join([INTRO, *(f"{text}\n{lines}\n" for text, lines in sections)])


if __name__ == "__main__":
    if tyro.cli(Options, description=__doc__).quick:
        print(page(slice(1)))
    else:
        PAGE.write_text(page(), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
