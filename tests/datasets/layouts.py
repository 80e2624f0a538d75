"""Small copies of known data sets: real videos of a few frames, and annotation files in the official formats."""

import json
from pathlib import Path

from tests.videos import write_video

UCF = ("ApplyEyeMakeup", "Archery", "YoYo", *(f"Class{chr(65 + i // 26)}{chr(97 + i % 26)}" for i in range(98)))
HMDB = tuple(sorted(["brush_hair", "cartwheel", *(f"move_{i:02d}" for i in range(49))]))
K400 = tuple(sorted(["abseiling", "air drumming", *(f"doing {i:03d}" for i in range(398))]))
SSV2 = ("Holding something", "Putting something, something and something on the table",
        *(f"Moving something {i}" for i in range(172)))  # fmt: skip


def clip(path: Path, seed: int, frames: int = 8, size: tuple[int, int] = (48, 32)) -> Path:
    """A short video, different for each seed; its end says the codec."""
    codec = {".avi": "mpeg4", ".webm": "libvpx"}.get(path.suffix, "libx264")
    return write_video(path, frames, codec, size=size, seed=seed)


def ucf101(root: Path) -> Path:
    """Eight clips of two classes and four groups; group 8 is tested in split 1, group 9 in split 2.

    Of the clips in the lists, the last one of Archery is not there.
    """
    lists: dict[str, list[str]] = {}
    for k, label in enumerate(UCF[:2]):
        for group, test in ((1, ""), (2, ""), (8, "1"), (9, "2")):
            name = f"{label}/v_{label}_g{group:02d}_c01.avi"
            for split in "12":
                half = "test" if split == test else "train"
                lists.setdefault(f"{half}list0{split}", []).append(name if half == "test" else f"{name} {k + 1}")
            if (label, group) != ("Archery", 9):
                clip(root / "UCF-101" / name, seed=10 * k + group)
    folder = root / "ucfTrainTestlist"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classInd.txt").write_text("".join(f"{i} {name}\r\n" for i, name in enumerate(UCF, 1)))
    for stem, lines in lists.items():
        (folder / f"{stem}.txt").write_text("".join(f"{line}\r\n" for line in lines))
    return root


def hmdb51(root: Path) -> Path:
    """Three clips of brush_hair: train, test and neither in split 1; the other classes' lists name no clip here."""
    for number in (1, 2):
        for label in HMDB:
            lines = [f"other_{label}_u_nm_np1_ba_goo_0.avi 1 "]
            if label == "brush_hair":
                marks = (1, 2, 0) if number == 1 else (2, 1, 0)
                lines = [f"film#{i}_brush_hair_u_nm_np1_ba_goo_{i}.avi {mark} " for i, mark in enumerate(marks)]
            path = root / "splits" / f"{label}_test_split{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
    for i in range(3):
        clip(root / "brush_hair" / f"film#{i}_brush_hair_u_nm_np1_ba_goo_{i}.avi", seed=i)
    return root


def k400(root: Path, names: tuple[str, ...] = K400) -> Path:
    """Three training and two validation clips, in folders by class, flat, and named by the video alone."""
    train = [f"{name},{f'train{i:06d}'},{i},{i + 10},train,0" for i, name in enumerate(names)]
    root.mkdir(parents=True, exist_ok=True)
    head = "label,youtube_id,time_start,time_end,split,is_cc\n"
    # One video gives two clips; its id begins with what an option or a formula would.
    train.append(f"{names[1]},-E4_ab=defg,5,15,train,0")
    train.append(f"{names[1]},-E4_ab=defg,45,55,train,0")
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "train.csv").write_text(head + "\n".join(train) + "\n")
    val = f"{names[0]},valvalval00,12,22,validate,0\n{names[1]},valvalval01,0,10,validate,0\n"
    (root / "annotations" / "validate.csv").write_text(head + val)
    (root / "annotations" / "test.csv").write_text("youtube_id,time_start,time_end,split\ntesttest000,0,10,test\n")
    clip(root / "train" / names[0] / "train000000_000000_000010.mp4", seed=0)
    clip(root / "train" / names[1].replace(" ", "_") / "-E4_ab=defg_000005_000015.mp4", seed=1)
    clip(root / "train" / "-E4_ab=defg_000045_000055.mp4", seed=2)
    clip(root / "val" / "valvalval00.mp4", seed=3)
    clip(root / "val" / "valvalval01_000000_000010.mp4", seed=4)
    return root


def ssv2(root: Path) -> Path:
    """Two training clips, one validation clip, one test clip with an answer and one without."""
    (root / "labels").mkdir(parents=True)

    def write(name: str, content: object) -> None:
        (root / "labels" / name).write_text(json.dumps(content))

    def item(number: int, template: str) -> dict[str, object]:
        return {"id": str(number), "label": template.replace("[", "").replace("]", ""), "template": template}

    write("labels.json", {name: str(i) for i, name in enumerate(SSV2)})
    write("train.json", [item(1, "Holding [something]"),
                         item(2, "Putting [something], [something] and [something] on the table")])  # fmt: skip
    write("validation.json", [item(3, "Holding [something]")])
    write("test.json", [{"id": "4"}, {"id": "5"}])
    (root / "labels" / "test-answers.csv").write_text("4;Putting something, something and something on the table\n")
    for number in range(1, 6):
        clip(root / "20bn-something-something-v2" / f"{number}.webm", seed=number)
    return root


def diving48(root: Path, version: str = "_V2") -> Path:
    """Two training clips and a test clip."""
    words = [["Back", "15som", "05Twis", "FREE"], ["Forward", "Dive", "NoTwis", "PIKE"]]
    words += [["Inward", f"{i}5som", "NoTwis", p] for i in range(23) for p in ("TUCK", "PIKE")]
    root.mkdir(parents=True, exist_ok=True)

    def item(name: str, label: int) -> dict[str, object]:
        return {"vid_name": name, "label": label, "start_frame": 0, "end_frame": 8}

    (root / "Diving48_vocab.json").write_text(json.dumps(words))
    train = [item("_8Vy3dlHg2w_00000", 0), item("_8Vy3dlHg2w_00001", 1)]
    (root / f"Diving48{version}_train.json").write_text(json.dumps(train))
    (root / f"Diving48{version}_test.json").write_text(json.dumps([item("abcdefghijk_00007", 0)]))
    for i, name in enumerate(("_8Vy3dlHg2w_00000", "_8Vy3dlHg2w_00001", "abcdefghijk_00007")):
        clip(root / "rgb" / f"{name}.mp4", seed=i)
    return root
