"""Whole pieces of work that `bench.py` times: an epoch, an encoding, a look at known clips, a prediction."""

import contextlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from floors import interleaved
from reference.decoder import Decoder
from reference.tower import Tower
from reference.video import read
from safetensors.torch import save_file
from speed_rows import CLASSES, CPU, FRAMES, Row, Sizes
from tiny import write_clip

from stillmotion.backbones.weights import Weights
from stillmotion.cli import main as stillmotion
from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import read_views
from stillmotion.data.manifest import Clip
from stillmotion.data.sampling import Sampling, segments_test
from stillmotion.data.transforms import Preprocess
from stillmotion.data.video import open_video
from stillmotion.features.encode import Encoder, View, encode, views_of
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import Digests
from stillmotion.methods import EVL
from stillmotion.models.features import FRAMES as FRAMES_ALONE

CLIPS, LENGTH, SIZE = 4, 300, (340, 256)
"""Clips of an epoch, their frames, and pixels."""
MANY = 10_000
"""Clips of a second run."""


@dataclass
class Setting:
    """Clips on a disk, and a tower with random weights."""

    sizes: Sizes
    folder: Path
    paths: list[Path]
    weights: Weights

    @classmethod
    def make(cls, tiny: bool, folder: Path) -> "Setting":
        """Write the clips."""
        sizes = Sizes("tiny" if tiny else "ViT-B-16")
        paths = [folder / "clips" / "ab"[i % 2] / f"{i}.mp4" for i in range(CLIPS)]
        for i, path in enumerate(paths):
            write_clip(path, 20 if tiny else LENGTH, (64, 48) if tiny else SIZE, seed=i)
        torch.manual_seed(0)
        tower = sizes.backbone.visual(EVL().reads() | FRAMES_ALONE)
        state = {f"visual.{name}": tensor for name, tensor in tower.state_dict().items()}
        return cls(sizes, folder, paths, Weights(name="random", backbone=sizes.backbone, state=state))

    def encoder(self, name: str, runtime: str = "fp32") -> tuple[Encoder, FeatureStore, list[View]]:
        """What fills a cache of its own with EVL's outputs."""
        preprocess, sampling = Preprocess(size=(self.sizes.side, self.sizes.side)), Sampling()
        spec = FeatureSpec(
            backbone="r" * 64, num_frames=FRAMES, preprocess=preprocess, sampling=sampling, runtime=runtime
        )
        clips = [Clip(path, i % 2) for i, path in enumerate(self.paths)]
        views = views_of(clips, sampling, BadVideos(None, CLIPS, 0.0), Digests(None))
        store = FeatureStore(self.folder / name, spec)
        return Encoder(self.weights, spec, EVL().reads(), CPU), store, [view for found in views for view in found]


def epoch_row(setting: Setting, repeats: int) -> Row:
    """Four clips from the cache, and by the release: decoded from the start, through tower and decoder."""
    sizes, threads = setting.sizes, torch.get_num_threads()
    encoder, store, views = setting.encoder("epoch")
    encode(views, encoder, store, BadVideos(None, CLIPS, 0.0))
    method, labels = EVL(num_frames=FRAMES), torch.arange(CLIPS) % 2
    model = method.build(sizes.backbone, [str(i) for i in range(CLASSES)]).train()
    ours = torch.optim.AdamW([*model.temporal.parameters(), *model.head.parameters()], fused=True)
    tower = Tower(sizes.width, sizes.heads, sizes.layers, sizes.patch, sizes.side).eval().requires_grad_(False)
    plain = Decoder(sizes.width, sizes.heads, 4, FRAMES, sizes.grid, CLASSES).train()
    theirs = torch.optim.AdamW(plain.parameters(), fused=True)
    preprocess, names = Preprocess(size=(sizes.side, sizes.side)), method.reads().names(sizes.layers)

    def cached() -> None:
        kept = [store.read(view.items()[0], names) for view in views]
        features = {name: torch.stack([one[name] for one in kept]).float() for name in names}
        loss = torch.nn.functional.cross_entropy(model.head(model.temporal(features), None, features), labels)
        loss.backward()
        ours.step()
        ours.zero_grad()

    def release() -> None:
        videos = []
        for path in setting.paths:
            kept = read(path, [int(i) for i in segments_test(open_video(path).num_frames, FRAMES).flatten()])
            videos.append(preprocess(kept)[0])
        with torch.no_grad():
            taps = tower(torch.stack(videos), 4)
        torch.nn.functional.cross_entropy(plain(taps), labels).backward()
        theirs.step()
        theirs.zero_grad()

    found = interleaved({"ours": cached, "reference": release}, repeats)
    return Row(f"EVL epoch of {CLIPS} encoded clips", threads, found["ours"], found["reference"], 0.0)


def encode_row(setting: Setting, repeats: int) -> Row:
    """Encoding from files to the cache, beside the forward passes alone."""
    encoder, _, views = setting.encoder("none")
    videos = [read_views(view.clip.path, FRAMES, view.sampling, encoder.spec.preprocess) for view in views]
    count = iter(range(1000))

    def whole() -> None:
        _, store, views = setting.encoder(f"whole{next(count)}")
        encode(views, encoder, store, BadVideos(None, CLIPS, 0.0))

    def forward() -> None:
        for video in videos:
            encoder.encode(video)

    with contextlib.redirect_stderr(io.StringIO()):
        found = interleaved({"ours": whole, "forward": forward}, repeats)
    name = f"encode {CLIPS} files to the cache, beside the forward alone"
    return Row(name, torch.get_num_threads(), found["ours"], found["forward"], found["forward"])


def second_row(folder: Path, repeats: int, many: int = MANY) -> Row:
    """Before the first step of a second run: by the memo, and by every byte."""
    place = folder / "second"
    place.mkdir()
    clips = [Clip(place / f"{i}.mp4", 0) for i in range(many)]
    for i, clip in enumerate(clips):
        clip.path.write_bytes(i.to_bytes(8, "big") * 2500)
    old, Digests.CLOCK = Digests.CLOCK, 0  # the files are younger than a memo may trust
    views_of(clips, Sampling(), BadVideos(None, many, 0.0), Digests(place))
    Digests.CLOCK = old

    def look(memo: Path | None) -> None:
        views_of(clips, Sampling(), BadVideos(None, many, 0.0), Digests(memo))

    found = interleaved({"ours": lambda: look(place), "reference": lambda: look(None)}, repeats)
    return Row(
        f"look at {many:,} known clips, beside hashing them",
        torch.get_num_threads(),
        found["ours"],
        found["reference"],
        0.0,
    )


def commands(setting: Setting, repeats: int) -> Iterator[Row]:
    """`predict` of one clip, its process included."""
    state = {name: tensor.contiguous() for name, tensor in setting.weights.state.items()}
    save_file(state, setting.folder / "tower.safetensors")
    run = setting.folder / "run"
    words = ["train", "linear_probe", "--data", str(setting.folder / "clips"), "--epochs", "1", "--device", "cpu"]
    words += ["--backbone", str(setting.folder / "tower.safetensors"), "--cache", str(setting.folder / "cache")]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        stillmotion([*words, "--out", str(run), "--no-report", "--runtime", "fp32", "--val-fraction", "0.5"])
    predict = [sys.executable, "-m", "stillmotion", "predict", str(run / "model.safetensors"), str(setting.paths[0])]

    def once() -> None:
        subprocess.run([*predict, "--device", "cpu"], check=True, capture_output=True)

    seconds = interleaved({"ours": once}, repeats)["ours"]
    yield Row("predict one clip, process included", torch.get_num_threads(), seconds, 0.0, 0.0)


def whole_rows(tiny: bool, repeats: int) -> Iterator[Row]:
    """All of them."""
    with tempfile.TemporaryDirectory() as name:
        setting = Setting.make(tiny, Path(name))
        yield epoch_row(setting, repeats)
        yield encode_row(setting, repeats)
        yield second_row(Path(name), repeats, 20 if tiny else MANY)
        yield from commands(setting, repeats)
