"""`stillmotion eval MODEL --data VIDEOS`: every video scored once."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

from stillmotion.cli.parse import parse
from stillmotion.cli.predict import open_model


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Score a model on labeled videos."""

    model: tyro.conf.Positional[str]
    """A model.safetensors of a run; zero_shot or vificlip for CLIP by class names; or a model of another library:
    transformers:FOLDER, transformers:HUB_NAME, torchvision:MODEL, torchvision:MODEL:FILE.pth."""
    data: Path
    """Folder with one folder per class (or a val or test folder of those), or a list file."""
    labels: Path | None = None
    """Label map of zero_shot, vificlip and other libraries' models: CSV lines id,name; None: the names found."""
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
    stride: int | None = None
    """Frames from one sampled frame to the next, for other libraries' models; None: see docs/ensembles.md."""
    max_bad: float = 0.01
    """Part of the videos that may be unreadable before the evaluation fails."""
    out: Path | None = None
    """Folder for eval.json and eval_predictions.jsonl; None: beside the model, or runs/MODEL."""
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
    from stillmotion.eval.report import Report, write_predictions
    from stillmotion.files import write_json
    from stillmotion.libraries.classifier import is_foreign
    from stillmotion.methods import METHODS

    data = Data(data=options.data, root=options.root, max_bad=options.max_bad)
    known = read_label_map(options.labels) if options.labels else None
    by_name = options.model in METHODS or is_foreign(options.model)
    named = load_test_data(data, known) if by_name else None
    labels = named.classes if named else known
    accelerator = Accelerator(cpu=options.device == "cpu" or not torch.cuda.is_available())
    device = str(accelerator.device)  # of this process, under `accelerate launch`
    model = open_model(options, labels, known, device)
    if not model.classes:  # a converted model, which reads any names: those of the data
        model.classes = load_test_data(data, None).classes
    manifest = named or load_test_data(data, model.classes)
    out = options.out or (
        Path("runs") / re.sub(r"[^\w.-]+", "_", options.model) if named else Path(options.model).parent
    )
    dataset = model.dataset(manifest, options.views, options.crops)
    bad = BadVideos(out / "bad_videos.jsonl", len(manifest), options.max_bad)
    scores = score(model.model, dataset, accelerator, model.text)
    for video in scores.bad:
        bad.add(video)
    report = Report.of(scores, model.classes)
    if accelerator.is_main_process:
        print(report)  # before anything that a full disk could stop
        write_json(out / "eval.json", asdict(report) | {"config": {k: str(v) for k, v in asdict(options).items()}})
        write_predictions(out / "eval_predictions.jsonl", scores, [c.path for c in manifest.clips], model.classes)
        print(out / "eval.json")
