"""`stillmotion eval MODEL --data VIDEOS`: every video scored once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

from stillmotion.cli.parse import parse
from stillmotion.cli.predict import load_classifier


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Score a model on labeled videos."""

    model: tyro.conf.Positional[str]
    """A model.safetensors of a run, or zero_shot or vificlip for CLIP by class names."""
    data: Path
    """Folder with one folder per class (or a val or test folder of those), or a list file."""
    labels: Path | None = None
    """Label map of zero_shot and vificlip: CSV lines id,name; None: the names found."""
    root: Path | None = None
    """Folder that relative paths in list files start from; None: the list file's own."""
    text_features: Path | None = None
    """A .npy file of class embeddings in the order of the labels, in place of a text tower."""
    clip: str | None = None
    """CLIP weights: a path or a name; None: those the model was trained on."""
    clean_names: bool = False
    """Write class names as words in prompts (ApplyEyeMakeup: apply eye makeup)."""
    views: int | None = None
    """Temporal views, averaged; None: as the model was trained to be tested."""
    crops: Literal[1, 3] | None = None
    """Spatial crops, averaged; None: as the model was trained to be tested."""
    max_bad: float = 0.01
    """Part of the videos that may be unreadable before the evaluation fails."""
    out: Path | None = None
    """Folder for results.json; None: beside the model, or runs/MODEL."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to run."""


def run(words: Sequence[str]) -> None:
    """Evaluate, print the numbers, and write them."""
    options: Eval = parse(Eval, words, "stillmotion eval")
    import torch
    from accelerate import Accelerator

    from stillmotion.data.bad import BadVideos
    from stillmotion.data.manifest import read_label_map
    from stillmotion.data.source import Data, load_test_data
    from stillmotion.eval.evaluate import score
    from stillmotion.eval.report import Report
    from stillmotion.files import write_json
    from stillmotion.methods import METHODS

    data = Data(data=options.data, root=options.root, max_bad=options.max_bad)
    known = read_label_map(options.labels) if options.labels else None
    named = load_test_data(data, known) if options.model in METHODS else None
    labels = named.classes if named else None
    accelerator = Accelerator(cpu=options.device == "cpu" or not torch.cuda.is_available())
    device = str(accelerator.device)  # of this process, under `accelerate launch`
    model = load_classifier(options.model, labels, options.text_features, options.clip, options.clean_names, device)
    manifest = named or load_test_data(data, model.classes)
    out = options.out or (Path("runs") / options.model if named else Path(options.model).parent)
    dataset = model.dataset(manifest, options.views, options.crops)
    bad = BadVideos(out / "bad_videos.jsonl", len(manifest), options.max_bad)
    scores = score(model.model, dataset, accelerator, model.text)
    for video in scores.bad:
        bad.add(video)
    report = Report.of(scores, model.classes)
    if accelerator.is_main_process:
        write_json(out / "eval.json", asdict(report) | {"config": {k: str(v) for k, v in asdict(options).items()}})
        print(report)
        print(out / "eval.json")
