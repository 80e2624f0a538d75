"""A backbone: what a pretrained model is, what it can give, and how its towers are built; no tensors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from stillmotion.backbones.config import TextConfig
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import StillmotionError
from stillmotion.models.features import Reads

PIXELS = ("size", "mean", "std", "interpolation")  # what a pretrained model says of how it reads frames
PLAIN = frozenset({"frames", "out", "affinity"})


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A pretrained model's sizes, and two factories for its towers; `backbones/load.py` has the table of kinds.

    Equal if kind, sizes and pixels are: all else follows from them.
    """

    kind: str
    """Its name in the table of kinds."""
    sizes: dict[str, Any]
    """What its kind builds it from, JSON-ready."""
    pixels: Preprocess
    """How it reads frames; a recipe may make more of it."""
    width: int = field(compare=False)
    """D of the tokens."""
    layers: int = field(compare=False)
    """Blocks of the image tower."""
    grid: tuple[int, int] = field(compare=False)
    """Patch rows and columns."""
    prefix_tokens: int = field(default=1, compare=False)
    """Class and register tokens before the patches."""
    time_stride: int = field(default=1, compare=False)
    """Frames in one step of time: 1 for images, 2 for tubelets."""
    embed_dim: int = field(compare=False)
    """E of `frames`: of the space that images and texts share, where there is one."""
    offers: frozenset[str] = field(default=PLAIN, compare=False)
    """Kinds of outputs that its image tower gives."""
    text: TextConfig | None = field(default=None, compare=False)
    """Sizes of the text tower; None: there is none."""
    tokenizer: str = field(default="ViT-B-16", compare=False)
    """The open_clip model, or folder, whose tokenizer the text tower was trained with."""
    sigmoid: bool = field(default=False, compare=False)
    """Whether it was trained to say yes or no to every pair (SigLIP), so that its logits have a learned bias."""
    seams: bool = field(default=False, compare=False)
    """Whether methods may change what is inside its towers."""
    make_visual: Callable[..., nn.Module] = field(repr=False, compare=False)
    make_text: Callable[..., nn.Module] | None = field(default=None, repr=False, compare=False)

    def visual(self, reads: Reads, **seams: Any) -> nn.Module:
        """Build the image tower: normalized (B, T, 3, H, W) videos to the `Features` that `reads` names.

        Args:
            seams: changes inside the tower; which there are is up to the kind.

        Raises `StillmotionError`: an output or a seam that this kind of backbone does not have.
        """
        self.check(reads)
        self._check_seams("image", seams)
        tower: Any = self.make_visual(reads, **seams)
        tower.plain = not seams  # so that what a cache holds for all is never read by a tower that is not as it came
        return tower

    def check(self, reads: Reads) -> None:
        """Refuse outputs that this kind of backbone does not have, or of blocks that it does not have.

        Raises `StillmotionError`: with what it has, and what to do.
        """
        reads.names(self.layers)
        for kind in ("frames", "out", "affinity"):
            if getattr(reads, kind) and kind not in self.offers:
                mend = "pass --no-cross-attention" if kind == "affinity" else "choose a method that does not read it"
                raise StillmotionError(
                    f"a backbone of kind {self.kind} gives no {kind!r} here, {', '.join(sorted(self.offers))} alone; "
                    f"{mend}, or use a CLIP backbone"
                )

    @property
    def frames_alone(self) -> bool:
        """Whether another order of the frames is the same order of its outputs."""
        return self.time_stride == 1

    def text_tower(self, **seams: Any) -> nn.Module | None:
        """Build the text tower: token ids (K, S) to class embeddings (K, E); None where there is none."""
        if self.make_text is None:
            return None
        self._check_seams("text", seams)
        return self.make_text(**seams)

    def steps(self, num_frames: int) -> int:
        """Steps of time that so many frames make.

        Raises `StillmotionError`: frames that make no whole number of steps.
        """
        if num_frames % self.time_stride:
            raise StillmotionError(
                f"num-frames is {num_frames}; this backbone takes {self.time_stride} frames a step: choose a multiple"
            )
        return num_frames // self.time_stride

    def shape(self, output: str, num_frames: int) -> tuple[int, ...]:
        """Shape of a named output of one view of so many frames, without the batch axis."""
        T, P = self.steps(num_frames), self.grid[0] * self.grid[1]
        if output == "frames":
            return (T, self.embed_dim)
        return (T, self.prefix_tokens + P, self.width) if output.startswith("out.") else (T - 1, 2, P, P)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `backbones.load.backbone_of` reads it back."""
        pixels = {name: getattr(self.pixels, name) for name in PIXELS}
        return {"kind": self.kind, "sizes": self.sizes, "pixels": pixels}

    def _check_seams(self, tower: str, seams: dict[str, Any]) -> None:
        if seams and not self.seams:
            raise StillmotionError(
                f"this method changes the {tower} tower ({', '.join(seams)}), which a backbone of kind {self.kind} "
                "does not allow; use a CLIP backbone"
            )


def check_video(video: Tensor, size: tuple[int, int]) -> None:
    """Refuse what is no (B, T, 3, H, W) video of frames of (height, width) pixels.

    Raises `StillmotionError`: with the shape that is expected.
    """
    if video.ndim != 5 or video.shape[2] != 3:
        raise StillmotionError(
            f"video has shape {tuple(video.shape)}; pass (batch, frames, 3, height, width), e.g. video[None]"
        )
    if tuple(video.shape[-2:]) != tuple(size):
        raise StillmotionError(
            f"frames are {video.shape[-2]}x{video.shape[-1]} pixels, this model reads {size[0]}x{size[1]}; resize "
            "them, or load the weights with image_size=..."
        )
