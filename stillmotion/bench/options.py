"""What a benchmark is asked for, beside the methods and their own options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from stillmotion.bench.presets import Preset
from stillmotion.errors import StillmotionError, at_least, check_fields

Protocol = Literal["supervised", "zero-shot", "base-to-novel", "few-shot"]
PROTOCOLS: tuple[Protocol, ...] = ("supervised", "zero-shot", "base-to-novel", "few-shot")
SHOTS: dict[str, tuple[int, ...]] = {"few-shot": (2, 4, 8, 16), "base-to-novel": (16,)}
SEEDS = {"base-to-novel": (0, 1, 2)}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Clips, protocol and switches of a benchmark."""

    data: tuple[Path, ...]
    """A manifest of `stillmotion data prepare`, a folder or a list; for zero-shot one or more, to test on."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/bench")
    """Folder of the table; run again, it goes on where it was."""
    train: Path | None = None
    """zero-shot: the set to train on; None: methods that need no training alone."""
    split: tuple[str, ...] = ()
    """Official split of a manifest (1, 2, 3), or the split to test on (val, test); zero-shot takes several."""
    root: Path | None = None
    """Folder that relative paths in lists start from."""
    group: str | None = None
    """Regular expression whose first group names a clip's source; sources stay whole where clips are split, and are
    drawn whole for intervals."""
    val_fraction: float = 0.2
    """Part of every class to test on, where the clips have no splits."""
    shots: tuple[int, ...] = ()
    """few-shot: training clips of each class (2 4 8 16); base-to-novel: of each base class (16)."""
    seeds: tuple[int, ...] = ()
    """Seeds of drawn clips and of training: 0; base-to-novel: 0 1 2."""
    nested: bool = False
    """few-shot: the clips of fewer shots are among those of more; the published lists are not."""
    base_lists: tuple[Path, ...] = ()
    """base-to-novel: published lists of the base classes' clips, or of their names, in place of counting."""
    novel_lists: tuple[Path, ...] = ()
    """The same of the novel classes."""
    draws: int = 0
    """zero-shot: so many random draws of some of the classes of every set; 0: all classes."""
    draw_classes: int = 160
    """Classes in a draw (Kinetics-600: 3 draws of 160; half of UCF-101: 10 draws of 50)."""
    allow_overlap: bool = False
    """Score test clips that are also training clips, by their content; else that is refused."""
    preset: Preset | None = None
    """Switches as each paper's code has them (release), or so that numbers can be compared (strict); given options win.
    None: as the recipes have them."""
    clean_names: bool | None = None
    """Write class names as words in prompts (ApplyEyeMakeup: apply eye makeup); None: as the preset says, else not."""
    drop_last: int | None = None
    """Leave out the last videos of every test set that make no whole batch of so many, as some releases do; named in
    the table. None: as the preset says, else none."""
    text_features: Path | None = None
    """A .npy file of class embeddings (classes, width), in the order of all classes, in place of a text tower."""
    cache: Path | None = None
    """Folder of the feature cache, which frozen methods share; None: the user's."""
    max_bad: float = 0.01
    """Part of the videos that may be unreadable before a cell fails."""
    keep_models: bool = False
    """Keep trained models; else each is removed when its cells are scored."""
    overwrite: bool = False
    """Throw away an earlier table in the same folder."""
    report: bool = True
    """Write report.html."""

    def __post_init__(self) -> None:
        check_fields(self, "above 0 and below 1", lambda x: 0 < x < 1, "val_fraction")
        check_fields(self, "in [0, 1]", lambda x: 0 <= x <= 1, "max_bad")
        at_least(0, self, "draws")
        at_least(1, self, "drop_last", hint="; 1 leaves out none")
        for name in ("shots", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values) or any(v < (name == "shots") for v in values):
                words = " ".join(map(str, values))
                raise StillmotionError(
                    f"{name} are {words}; give different whole numbers of at least {int(name == 'shots')}"
                )

    def check(self, protocol: Protocol) -> None:
        """Refuse options that a protocol has no place for, a `StillmotionError`."""
        places = {
            "train": ("zero-shot",), "draws": ("zero-shot",), "shots": ("few-shot", "base-to-novel"),
            "nested": ("few-shot",), "base_lists": ("base-to-novel",), "novel_lists": ("base-to-novel",),
        }  # fmt: skip
        for name, where in places.items():
            if getattr(self, name) and protocol not in where:
                option = f"--{name.replace('_', '-')}"
                raise StillmotionError(f"{option} is for {' and '.join(where)}; {protocol} has no place for it")
        if protocol != "zero-shot" and (len(self.data) != 1 or len(self.split) > 1):
            raise StillmotionError(f"{protocol} takes one --data and one --split; run it once for each")
        if protocol == "base-to-novel" and len(self.shots) > 1:
            raise StillmotionError("base-to-novel takes one number of --shots; run it once for each")
