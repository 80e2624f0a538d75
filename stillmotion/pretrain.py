"""Pretrain a tiny CLIP on rendered stills and captions: the two towers, and the loss, of Radford et al. (2021).

Every step renders its own stills (`actors/`), so no still is seen twice and a step is a function of the seed and its
number alone: a stopped run goes on to the same bits, at the same number of threads.
"""

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from stillmotion.actors.captions import caption, words
from stillmotion.actors.sample import random_scene
from stillmotion.actors.scene import SIZE, draw_still
from stillmotion.actors.vocabulary import ACTIONS
from stillmotion.backbones.clip import TextTransformer, VisionTransformer
from stillmotion.backbones.config import CLIPConfig, TextConfig, VisionConfig
from stillmotion.backbones.tiny import write_few_words
from stillmotion.data.loader import batches
from stillmotion.data.seeds import item_seed
from stillmotion.data.transforms import CLIP_MEAN, CLIP_STD
from stillmotion.errors import StillmotionError, at_least
from stillmotion.files import write_torch
from stillmotion.models.layers import Block
from stillmotion.models.tokenizer import tokenize
from stillmotion.progress import duration, progress_bar, say
from stillmotion.training.signals import stop_signals

LARGEST_SCALE = 100.0
SAVE_SECONDS = 60.0
FALL = 0.2
"""Part of the steps in which the rate falls; until then a run does not depend on how long it will be."""


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Pretrain a tiny CLIP on rendered stills and captions; a stopped run goes on where it was."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The .safetensors file to write; FILE.state beside it is what a stopped run goes on from."""
    steps: int = 2000
    """Optimizer steps; may still be changed for a stopped run, until the last fifth of them began."""
    batch: int = 128
    """Stills, each with a caption, of a step."""
    captions: int = 2
    """Captions of each still, compared one after the other: a text costs a tenth of a still."""
    lr: float = 8e-4
    """Learning rate (AdamW); it falls to zero over the last fifth of the steps."""
    warmup: int = 100
    """Steps of its linear rise."""
    weight_decay: float = 0.05
    """On matrices alone."""
    threads: int = 2
    """Threads of the towers; another number rounds otherwise and ends with other bits."""
    workers: int = 1
    """Processes that render; decides no number."""
    seed: int = 0
    """Of the stills, the captions and the first weights."""

    def __post_init__(self) -> None:
        at_least(1, self, "steps", "threads", "captions")
        at_least(2, self, "batch")
        at_least(0, self, "workers", "warmup", "lr", "weight_decay")
        if self.out.suffix != ".safetensors":
            raise StillmotionError(f"out is {self.out}; it must end in .safetensors, e.g. -o my_tiny.safetensors")


class Words:
    """The tokens that captions have, in CLIP's vocabulary: a table of these alone trains, in the order of their ids."""

    def __init__(self) -> None:
        self.ids = tokenize([text.replace("{}", "") for text in words()]).unique()  # sorted; the end token is the last

    def encode(self, texts: list[str]) -> Tensor:
        """Texts to (len(texts), longest) rows of the table; cut behind the longest, which changes nothing (causal).
        Raises `StillmotionError`: a text has a word that captions do not have.
        """
        tokens = tokenize(texts)
        rows = torch.searchsorted(self.ids, tokens)
        if not torch.equal(self.ids[rows.clamp(max=len(self.ids) - 1)], tokens):
            raise StillmotionError(f"a caption has a word that `words` lacks, among {texts[:3]}; add it there")
        return rows[:, : int((tokens > 0).sum(1).max())]


class Stills:
    """Batches by the number of their step: uint8 stills (B, SIZE, SIZE, 3), then a caption of each, N times."""

    def __init__(self, seed: int, batch: int, captions: int = 1):
        self.seed, self.batch, self.captions = seed, batch, captions

    def __getitem__(self, step: int) -> tuple[Tensor, list[str]]:
        rng = np.random.RandomState(item_seed(self.seed, step))
        scenes = [random_scene(rng) for _ in range(self.batch)]
        stills = [draw_still(scene, rng, ACTIONS[scene.action].window) for scene in scenes]
        return torch.from_numpy(np.stack(stills)), [
            caption(scene, rng) for _ in range(self.captions) for scene in scenes
        ]


class Towers(nn.Module):
    """The two towers and the temperature."""

    def __init__(self, rows: int):
        super().__init__()
        config = sizes(rows)
        self.visual, self.text = VisionTransformer(config), TextTransformer(config)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        for tower in (self.visual, self.text):
            _initialize(tower)

    def forward(self, stills: Tensor, tokens: Tensor) -> Tensor:
        """Normalized stills (B, 3, H, W) and the tokens of their captions, (N B, S), to the loss.

        Cross-entropy over the captions of each still and over the stills of each caption, averaged (CLIP, figure 3);
        and averaged over the N captions of a still, each compared with those of the others that are drawn with it.
        """
        B = len(stills)
        image_BE = self.logit_scale.exp() * F.normalize(self.visual(stills[:, None])["frames"][:, 0], dim=-1)
        text_NBE = F.normalize(self.text(tokens), dim=-1).unflatten(0, (-1, B))
        own_B = torch.arange(B)
        losses = []
        for logits_BB in image_BE @ text_NBE.mT:
            losses += [F.cross_entropy(logits_BB, own_B), F.cross_entropy(logits_BB.T, own_B)]
        return torch.stack(losses).mean()

    def openai_state(self) -> dict[str, Tensor]:
        """Its tensors with OpenAI's names."""
        return {name.removeprefix("text."): tensor for name, tensor in self.state_dict().items()}


def sizes(rows: int) -> CLIPConfig:
    """Sizes of the tiny CLIP: heads of 64, as OpenAI's, so that a file of it needs no description."""
    vision = VisionConfig(image_size=(SIZE, SIZE), patch_size=12, width=128, layers=4, heads=2, mlp_width=512)
    text = TextConfig(vocab_size=rows, width=128, layers=2, heads=2, mlp_width=512)
    return CLIPConfig(embed_dim=128, vision=vision, text=text)


def pixels(stills: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) to what CLIP reads: (B, 3, H, W) float32 with its mean and deviation."""
    scaled = stills.permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]


def pretrain(options: Pretrain) -> float:
    """Train from the start, or from where a stopped run was, and write the file.

    Returns:
        The mean loss of the last hundred steps.

    Raises `StillmotionError`: the file is there already, or a state of other settings is; `KeyboardInterrupt`: it was
    asked to stop, and has saved its state.
    """
    if options.out.exists():
        raise StillmotionError(f"{options.out} is there already; remove it, or choose another name with -o")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    table = Words()
    model = Towers(len(table.ids))
    run = _Run(options, model)
    stills = batches(
        Stills(options.seed, options.batch, options.captions), options.workers, keys=range(run.step, options.steps)
    )
    with closing(stills), stop_signals() as stop, progress_bar("pretraining", options.steps) as advance:  # type: ignore[type-var]
        advance(run.step)
        run.train(stills, table, stop, advance)
    keep = table.ids > 0  # row 0 is padding, which no caption reads
    state = model.openai_state()
    state["token_embedding.weight"] = state["token_embedding.weight"][keep]
    write_few_words(options.out, state, table.ids[keep])
    run.file.unlink(missing_ok=True)
    return run.recent


def rate(options: Pretrain, step: int) -> float:
    """The learning rate of a step, counted from 0: a linear rise, the peak, and a linear fall over the last steps.

    Source: the trapezoid of Zhai et al., "Scaling Vision Transformers", CVPR 2022, section 3.5.
    """
    rise = (step + 1) / options.warmup if step < options.warmup else 1.0
    return options.lr * min(rise, 1.0, (options.steps - step) / (FALL * options.steps))


class _Run:
    """A model on its way: the optimizer, the step, and the file that a stopped run goes on from."""

    def __init__(self, options: Pretrain, model: Towers):
        self.options, self.model = options, model
        self.file = options.out.with_name(options.out.name + ".state")
        matrices = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay, betas=(0.9, 0.98), eps=1e-6)
        self.settings = {k: v for k, v in asdict(options).items() if k not in ("out", "workers", "steps")}
        self.step, self.losses = 0, [math.log(options.batch)]
        if self.file.is_file():
            self._load()

    @property
    def recent(self) -> float:
        """Mean loss of the last hundred steps."""
        return sum(self.losses) / len(self.losses)

    def train(self, stills: Iterator[Any], table: Words, stop: list[int], advance: Any) -> None:
        """Take the steps that are left."""
        saved = time.monotonic()
        for images, captions in stills:
            loss = self._update(pixels(images), table.encode(captions))
            self.losses = [*self.losses[-99:], loss]
            self.step += 1
            advance(note=f"loss {self.recent:.3f}")
            if self.step % 100 == 0:
                say(f"step {self.step} of {self.options.steps}: loss {self.recent:.3f}")
            if stop or time.monotonic() - saved > SAVE_SECONDS:
                self._save()
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt(f"after step {self.step} of {self.options.steps}")

    def _update(self, images: Tensor, tokens: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.options, self.step)
        self.optimizer.zero_grad()
        loss = self.model(images, tokens)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(LARGEST_SCALE))
        return loss.item()

    def _save(self) -> None:
        state = {"step": self.step, "losses": self.losses, "settings": self.settings, "steps": self.options.steps}
        write_torch(self.file, state | {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()})

    def _load(self) -> None:
        mend = f"remove it to start over, or choose another name than {self.options.out}"
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
            before, self.step, self.losses = state["settings"], state["step"], state["losses"]
            steps = {"steps": state["steps"]}
            if self.step <= (1 - FALL) * min(state["steps"], self.options.steps):
                steps = {"steps": self.options.steps}
            before, now = before | steps, self.settings | {"steps": self.options.steps}
            if before == now:
                self.model.load_state_dict(state["model"])
                self.optimizer.load_state_dict(state["optimizer"])
        except Exception as error:  # whatever a damaged file makes of PyTorch's reader
            raise StillmotionError(f"{self.file} is damaged; {mend}") from error
        if before != now:
            other = [f"{k} was {before.get(k)}, is {v}" for k, v in now.items() if before.get(k) != v]
            raise StillmotionError(f"{self.file} is of a run with other settings ({'; '.join(other)}); {mend}")
        say(f"resuming at step {self.step} of {self.options.steps}")


def _initialize(tower: VisionTransformer | TextTransformer) -> None:
    """CLIP's own first weights: smaller where a residual branch ends."""
    blocks = tower.transformer.resblocks
    for block in blocks:
        assert isinstance(block, Block)
        width = block.attn.out_proj.in_features
        nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * len(blocks)) ** -0.5)
        nn.init.zeros_(block.attn.out_proj.bias)
        nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)  # type: ignore[union-attr, arg-type]
        nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * len(blocks)) ** -0.5)  # type: ignore[union-attr, arg-type]


def done(options: Pretrain, seconds: float, loss: float) -> str:
    """What to say at the end."""
    size = options.out.stat().st_size / 1e6
    return f"{options.out} ({size:.2f} MB) after {duration(seconds)}, loss {loss:.3f}"
