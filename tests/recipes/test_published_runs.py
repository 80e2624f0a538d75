"""A run of a published recipe, made small: its sampler, its pixels and its loss reach the checkpoint."""

from pathlib import Path

import pytest

import stillmotion
from stillmotion.cli import main


@pytest.mark.parametrize(
    ("name", "options", "scheme", "bgr"),
    [
        ("xclip_few_shot", ["--precision", "fp32", "--warmup", "0"], "segments", False),
        ("actionclip_hmdb51", ["--precision", "fp32", "--warmup", "0", "--layers", "1"], "actionclip_middle", False),
        ("a5_hmdb51", ["--cached-views", "2"], "random_stride", True),
    ],
)
def test_a_small_run(
    name: str, options: list[str], scheme: str, bgr: bool, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    shared = [
        "--data",
        folder_of_videos,
        "--backbone",
        tiny_clip,
        "--out",
        tmp_path / "run",
        "--cache",
        tmp_path / "cache",
    ]
    main(["train", name, *map(str, shared), "--epochs", "1", "--num-frames", "4", *options])
    classifier = stillmotion.load(tmp_path / "run" / "model.safetensors")
    assert (classifier.sampling.scheme, classifier.preprocess.bgr) == (scheme, bgr)
    video = next(folder_of_videos.rglob("*.mp4"))
    assert classifier(video).scores == classifier(video).scores, "nothing is random at test"
