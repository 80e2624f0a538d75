"""Write docs/checkpoints.md: every published checkpoint, and the command that reads it.

python benchmarks/checkpoints_table.py [--quick]
"""

from dataclasses import dataclass

import tyro
from sections import ROOT, Options

PAGE = ROOT / "docs" / "checkpoints.md"
B16, L14 = "--clip ViT-B-16.pt", "--clip ViT-L-14.pt"


@dataclass(frozen=True)
class Checkpoint:
    """One or several published files of a setting; `file` is empty where the authors print no name."""

    file: str
    setting: str
    published: str
    options: str = ""


@dataclass(frozen=True)
class Release:
    """The files of one system."""

    method: str
    title: str
    place: str
    checkpoints: tuple[Checkpoint, ...]
    link: str = ""
    """What stands before a file's name in its address, where the authors print addresses."""


ZOO = "https://github.com/nbl97/X-CLIP_Model_Zoo/releases/download/v1.0/"
RELEASES = (
    Release(
        "evl",
        "EVL",
        "Google Drive, linked from the README of OpenGVLab/efficient-video-recognition. The files hold decoder and "
        "head; CLIP comes from `--clip`. Class names are in that repository's `data/k400_class_mappings.json`; write "
        "them one a line, in the order of their numbers, for `--labels`. Weights for Something-Something v2 and for "
        "336 pixels were never released. Numbers are the release's, top-1/top-5, over 3 views.",
        (
            Checkpoint("k400_vitb16_8f_dec4x768.pth", "Kinetics-400, B/16, 8 frames", "82.8/95.8", B16),
            Checkpoint("k400_vitb16_16f_dec4x768.pth", "Kinetics-400, B/16, 16 frames", "83.7/96.2", B16),
            Checkpoint("k400_vitb16_32f_dec4x768.pth", "Kinetics-400, B/16, 32 frames", "84.3/96.6", B16),
            Checkpoint("k400_vitl14_8f_dec4x1024.pth", "Kinetics-400, L/14, 8 frames", "86.3/97.2", L14),
            Checkpoint("k400_vitl14_16f_dec4x1024.pth", "Kinetics-400, L/14, 16 frames", "86.9/97.4", L14),
            Checkpoint("k400_vitl14_32f_dec4x1024.pth", "Kinetics-400, L/14, 32 frames", "87.7/97.6", L14),
        ),
    ),
    Release(
        "vificlip",
        "ViFi-CLIP, CLIP image-FT and text-FT, prompts",
        "SharePoint, linked from the README of muzairkhattak/ViFi-CLIP, which prints no file names (one is known from "
        "its notebook). The files lack CLIP's token table, so `--clip` is needed. All are B/16.",
        (
            Checkpoint(
                "vifi_clip_10_epochs_k400_full_finetuned.pth",
                "zero-shot, ViFi-CLIP",
                "HMDB 51.3, UCF 76.8, K600 71.2",
                f"--num-frames 32 {B16}",
            ),
            Checkpoint("", "zero-shot, image-FT", "HMDB 49.0, UCF 72.9, K600 62.2", f"--num-frames 32 {B16}"),
            Checkpoint("", "zero-shot, text-FT", "HMDB 48.5, UCF 69.8, K600 68.5", f"--num-frames 32 {B16}"),
            Checkpoint("", "Kinetics-400, 16 frames, ViFi-CLIP", "83.9/96.3 (4x3 views)", f"--num-frames 16 {B16}"),
            Checkpoint("", "Kinetics-400, 16 frames, image-FT", "82.8/96.2 (4x3 views)", f"--num-frames 16 {B16}"),
            Checkpoint("", "Kinetics-400, 16 frames, text-FT", "73.1/91.2 (4x3 views)", f"--num-frames 16 {B16}"),
            Checkpoint(
                "",
                "base to novel, ViFi-CLIP, 3 seeds each",
                "HM K400 67.9, HMDB 61.9, UCF 78.3, SSv2 13.9",
                f"--num-frames 32 {B16}",
            ),
            Checkpoint(
                "",
                "base to novel, image-FT, 3 seeds each",
                "HM K400 64.6, HMDB 54.0, UCF 74.4, SSv2 8.8",
                f"--num-frames 32 {B16}",
            ),
            Checkpoint(
                "",
                "base to novel, text-FT, 3 seeds each",
                "HM K400 65.8, HMDB 59.1, UCF 77.4, SSv2 10.8",
                f"--num-frames 32 {B16}",
            ),
            Checkpoint(
                "",
                "base to novel, prompts, 3 seeds each",
                "HM HMDB 64.1, UCF 83.6, SSv2 13.3",
                f"--num-frames 32 {B16}",
            ),
            Checkpoint("", "few-shot, HMDB-51, K = 2, 4, 8, 16", "57.2, 62.7, 64.5, 66.8", f"--num-frames 32 {B16}"),
            Checkpoint("", "few-shot, UCF-101, K = 2, 4, 8, 16", "80.7, 85.1, 90.0, 92.7", f"--num-frames 32 {B16}"),
            Checkpoint("", "few-shot, SSv2, K = 2, 4, 8, 16", "6.2, 7.4, 8.5, 12.4", f"--num-frames 32 {B16}"),
            Checkpoint("", "prompts, HMDB-51, K = 2, 4, 8, 16", "63.0, 65.1, 69.6, 72.0", f"--num-frames 32 {B16}"),
            Checkpoint("", "prompts, UCF-101, K = 2, 4, 8, 16", "91.0, 93.7, 95.0, 96.4", f"--num-frames 32 {B16}"),
            Checkpoint("", "prompts, SSv2, K = 2, 4, 8, 16", "6.7, 7.9, 10.2, 13.5", f"--num-frames 32 {B16}"),
        ),
    ),
    Release(
        "xclip",
        "X-CLIP",
        "GitHub, release v1.0 of nbl97/X-CLIP_Model_Zoo; those of L/14 on Google Drive, linked from the README of "
        "X-CLIP in microsoft/VideoX. A file holds all of CLIP. The folders of transformers' `XCLIPModel` are read by "
        "the same command. Fully supervised: top-1/top-5 over 4x3 views.",
        (
            Checkpoint("k400_32_8.pth", "Kinetics-400, B/32, 8 frames", "80.4/95.0"),
            Checkpoint("k400_32_16.pth", "Kinetics-400, B/32, 16 frames", "81.1/95.5"),
            Checkpoint("k400_16_8.pth", "Kinetics-400, B/16, 8 frames", "83.8/96.7 (README: 95.7)"),
            Checkpoint("k400_16_16.pth", "Kinetics-400, B/16, 16 frames", "84.7/96.8"),
            Checkpoint("", "Kinetics-400, L/14, 8 frames", "87.1/97.6"),
            Checkpoint("", "Kinetics-400, L/14, 336 pixels, 16 frames", "87.7/97.4"),
            Checkpoint("k600_16_8.pth", "Kinetics-600, B/16, 8 frames", "85.3/97.1"),
            Checkpoint("k600_16_16.pth", "Kinetics-600, B/16, 16 frames", "85.8/97.3"),
            Checkpoint("", "Kinetics-600, L/14, 8 frames", "88.3/97.7"),
            Checkpoint("few_hmdb_2.pth", "HMDB-51, K = 2, B/16, 32 frames", "53.0"),
            Checkpoint("few_hmdb_4.pth", "HMDB-51, K = 4, B/16, 32 frames", "57.3"),
            Checkpoint("few_hmdb_8.pth", "HMDB-51, K = 8, B/16, 32 frames", "62.8"),
            Checkpoint("few_hmdb_16.pth", "HMDB-51, K = 16, B/16, 32 frames", "64.0"),
            Checkpoint("few_ucf_2.pth", "UCF-101, K = 2, B/16, 32 frames", "76.4"),
            Checkpoint("few_ucf_4.pth", "UCF-101, K = 4, B/16, 32 frames", "83.4"),
            Checkpoint("few_ucf_8.pth", "UCF-101, K = 8, B/16, 32 frames", "88.3"),
            Checkpoint("few_ucf_16.pth", "UCF-101, K = 16, B/16, 32 frames", "91.4"),
            Checkpoint("zero.pth", "zero-shot, B/16, 32 frames", "HMDB 44.6, UCF 72.0, K600 65.2"),
        ),
        link=ZOO,
    ),
    Release(
        "actionclip",
        "ActionCLIP",
        "Baidu and a folder on Google Drive, linked from the README of sallymmx/ActionCLIP; its code names files "
        "`last_model.pt` and `model_best.pt`. Those for UCF-101 and HMDB-51 were never released. Top-1/top-5, one "
        "view; in brackets what mmaction2 (open-mmlab/mmaction2) measured with the same weights in its port, whose "
        "checkpoints are read by the same command.",
        (
            Checkpoint("", "Kinetics-400, B/32, 8 frames", "78.36/94.25 (77.6/93.8)", "--num-frames 8"),
            Checkpoint("", "Kinetics-400, B/16, 8 frames", "81.09/95.49 (80.3/95.2)", "--num-frames 8"),
            Checkpoint("", "Kinetics-400, B/16, 16 frames", "81.68/95.87 (81.1/95.6)", "--num-frames 16"),
            Checkpoint("", "Kinetics-400, B/16, 32 frames", "82.32/96.20 (81.3/95.8)", "--num-frames 32"),
            Checkpoint("", "mmaction2's own training, B/32, 8 frames", "77.5/93.2", "--num-frames 8"),
            Checkpoint("", "mmaction2's own training, B/16, 8 frames", "81.3/95.2", "--num-frames 8"),
        ),
    ),
    Release(
        "a5",
        "A5",
        "Baidu, linked from the README of ju-chen/Efficient-Prompt; a file `*.pth.tar`. It holds all of CLIP.",
        (Checkpoint("", "HMDB-51, B/16, 16 frames", "none found"),),
    ),
    Release(
        "zero_shot",
        "CLIP itself",
        "OpenAI's archives, linked from `clip/clip.py` of openai/CLIP. `--clip` takes them as they are; converting is "
        "for keeping a file of one format. SHA-256 in place of a number.",
        (
            Checkpoint("ViT-B-32.pt", "B/32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
            Checkpoint("ViT-B-16.pt", "B/16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
            Checkpoint("ViT-L-14.pt", "L/14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
            Checkpoint(
                "ViT-L-14-336px.pt",
                "L/14, 336 pixels",
                "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
            ),
        ),
    ),
)
HEAD = """# Published checkpoints

<!-- Written by benchmarks/checkpoints_table.py; do not edit. -->

What the five systems published, what their authors measured with it, and how it becomes a file of ours:

```
stillmotion convert FILE --method NAME -o OUT.safetensors [--clip ViT-B-16.pt]
stillmotion eval OUT.safetensors --data my_videos
```

Nothing pickled in them is executed. Only small random models of these systems were run through official code and ours
side by side; **none of the files below was downloaded for these tests**, and their numbers are the authors'.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for release in RELEASES:
        rows = [
            f"| {_file(release, c)} | {c.setting} | {c.published} | `{command(release, c)}` |"
            for c in release.checkpoints
        ]
        table = "\n".join(["| file | setting | published | command |", "|---|---|---|---|", *rows])
        parts.append(f"## {release.title}\n\n{release.place} [Its page](methods/{release.method}.md).\n\n{table}\n")
    return "\n".join(parts)


def command(release: Release, checkpoint: Checkpoint) -> str:
    """What reads a file."""
    words = ["stillmotion convert", checkpoint.file or "FILE", "--method", release.method, "-o OUT.safetensors"]
    return " ".join([*words, checkpoint.options]).strip()


def _file(release: Release, checkpoint: Checkpoint) -> str:
    if not checkpoint.file:
        return "in the README"
    return f"[{checkpoint.file}]({release.link}{checkpoint.file})" if release.link else f"`{checkpoint.file}`"


if __name__ == "__main__":
    if tyro.cli(Options, description=__doc__).quick:
        print(page())
    else:
        PAGE.write_text(page(), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
