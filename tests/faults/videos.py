"""Damage videos at random and read them; open lists, addresses and pipes that pose as videos.

    python -m tests.faults.videos --count 8838 --seed 0

A mutant is decoded or refused in one line with its name, in a process of its own, in bounded time and memory. Whatever
is opened under a video's name, no other file is, nothing is run and nothing is asked over the network: strace tells,
where it is installed, and a listener that waits for connections.
"""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from itertools import product
from pathlib import Path

from stillmotion.data.dataset import read_views
from stillmotion.data.lists import VIDEO_SUFFIXES
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.data.video import open_video
from stillmotion.errors import VideoError
from tests.data.test_video import KINDS
from tests.faults import Row, Trial, World, fork, limit, main
from tests.faults.weights import damage
from tests.videos import write_video

ROOM, SECONDS = 2 << 30, 30
REFUSED, FELL = 3, 4
READ = (8, Sampling(), Preprocess(size=(32, 32)))


def read(path: Path) -> None:
    """Read as a test view; refused is one line that names the file."""
    signal.alarm(SECONDS)
    try:
        read_views(path, *READ)
    except VideoError as error:
        if path.name in str(error) and len(str(error).splitlines()) == 1:
            os._exit(REFUSED)
        raise


def mutants(world: World, row: Row) -> None:
    """Of every kind of the decoding tests."""
    samples = {}
    os.environ["SVT_LOG"] = "1"  # errors alone
    for name, settings in KINDS.items():
        if name != "one_frame.mp4":
            samples[name] = write_video(world.folder / name, **{"frames": 48, **settings}).read_bytes()
    names, log, slowest, largest = list(samples), world.folder / "log", 0.0, 0
    usual = min(fork(lambda: None, log).wait().peak for _ in range(5))
    for i in row:
        name = names[i % len(names)]
        content, path = samples[name], world.folder / f"mutant{i}{Path(name).suffix}"
        way = row.draw.random()
        if way < 0.15:  # another file's end, or its middle
            other, at = samples[row.draw.choice(names)], row.draw.randrange(len(content))
            end = row.draw.choice((len(other), row.draw.randrange(len(other))))
            content = content[:at] + other[row.draw.randrange(len(other)) : end] + content[at:] * row.draw.randrange(2)
        elif way < 0.25:
            content = content[: row.draw.randrange(len(content))]
        if way > 0.2:
            content = damage(content, row.draw, row.draw.choice((None, 1000)))
        path.write_bytes(content)
        child = fork(lambda p=path: read(p), log, limit(resource.RLIMIT_AS, ROOM)).wait()
        slowest, largest = max(slowest, child.cpu), max(largest, child.peak - usual)
        kind = {0: "decoded", REFUSED: "VideoError"}.get(child.code)
        row.counts[kind or "fell"] += 1
        row.check("" if kind else f"code {child.code}: {child.said[-1500:]}", f"{i} {name}")
        if kind or len(row.fallen) > 20:
            path.unlink()
        else:
            shutil.copy(path, tempfile_of_falls())
    row.note = f"at most {slowest:.1f} s of one core and {largest / 1e6:.0f} MB"


def tempfile_of_falls() -> Path:
    """Where mutants that fell are kept."""
    folder = Path("/tmp") / "stillmotion_falls"
    folder.mkdir(exist_ok=True)
    return folder


CONTENTS = {
    "itself": "ffconcat version 1.0\nfile {name}\n",
    "ffconcat": "ffconcat version 1.0\nfile good.mp4\nfile {folder}/good.mp4\n",
    "ffconcat of addresses": "ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.mp4'\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\ngood.ts\n#EXT-X-ENDLIST\n",
    "HLS of files": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{folder}/good.ts\n#EXT-X-ENDLIST\n",
    "HLS of addresses": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
    "HLS with a key": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{port}/k"\n'
    "#EXTINF:9,\ngood.ts\n#EXT-X-ENDLIST\n",
    "HLS of lists": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://127.0.0.1:{port}/a.m3u8\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>http://127.0.0.1:{port}/a.mp4</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "SVG": '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="64" height="64">'
    '<image xlink:href="http://127.0.0.1:{port}/a.png" width="64" height="64"/></svg>',
    "ASS": "[Script Info]\nScriptType: v4.00+\n[Events]\nFormat: Layer, Start, End, Text\n"
    "Dialogue: 0,0:00:00.00,0:00:09.00,http://127.0.0.1:{port}/\n",
    "XML with an entity": '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file://{folder}/good.mp4">]><a>&b;</a>',
    "RTSP text": "[Reference]\nRef1=http://127.0.0.1:{port}/a.asf\n",
    "script": "#!/bin/sh\ntouch {folder}/ran\n",
}
NAMES = (
    "http://127.0.0.1:{port}/a.mp4", "https://127.0.0.1:{port}/a.mp4", "tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}",
    "rtmp://127.0.0.1:{port}/a", "rtsp://127.0.0.1:{port}/a", "ftp://127.0.0.1:{port}/a.mp4", "tls://127.0.0.1:{port}",
    "concat:{folder}/good.mp4|{folder}/good.mp4", "concatf:{folder}/good.mp4", "file:{folder}/good.mp4",
    "cache:{folder}/good.mp4", "crypto:{folder}/good.mp4", "subfile,,start,0,end,0,,:{folder}/good.mp4", "pipe:0",
    "pipe:", "fd:0", "data:video/mp4;base64,AAAA", "async:{folder}/good.mp4", "unix:{folder}/s", "lavfi:testsrc",
    "testsrc=size=64x64", "/dev/video0", "-", "md5:", "hls+http://127.0.0.1:{port}/a.m3u8", "ipfs://a", "smb://127.0.0.1/a",
)  # fmt: skip
MARK = "/no/such/case"

OPEN = """
import os, sys
from pathlib import Path
from tests.faults.videos import MARK, attempts
attempts(sys.argv[1:])
"""


def attempts(paths: list[str]) -> None:
    """Try to open each; the marks tell a tracer which one is next."""
    open_video(paths[0])  # so that what is loaded once is
    for i, path in enumerate(paths[1:]):
        Path(f"{MARK}{i}").exists()
        try:
            open_video(path)
            print(i, "opened")
        except VideoError as error:
            print(i, "refused" if len(str(error).splitlines()) == 1 else "two lines")


def lists(world: World, row: Row) -> None:
    """Contents under every suffix of a video and of their own, and names that are addresses."""
    folder = world.folder / "lists"
    good = write_video(folder / "good.mp4")
    write_video(folder / "good.ts", 5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fill = {"folder": str(folder), "port": listener.getsockname()[1]}
        suffixes = [
            *sorted(VIDEO_SUFFIXES),
            ".m3u8",
            ".ffconcat",
            ".sdp",
            ".mpd",
            ".svg",
            ".ass",
            ".asx",
            ".txt",
            ".sh",
            "",
        ]
        cases = [name.format(**fill) for name in NAMES]
        for number, ((kind, text), suffix) in enumerate(product(CONTENTS.items(), suffixes)):
            path = folder / f"{number}_{kind.replace(' ', '_')}{suffix}"
            path.write_text(text.format(name=path.name, **fill))
            cases.append(str(path))
        for suffix in suffixes:
            os.mkfifo(folder / f"pipe{suffix}")
            cases.append(str(folder / f"pipe{suffix}"))
        cases = row.draw.sample(cases, min(row.count, len(cases)))
        words = [sys.executable, "-W", "ignore", "-c", OPEN, str(good), *cases]
        strace = shutil.which("strace")
        trace = world.folder / "trace"
        if strace:
            calls = "open,openat,socket,connect,execve,stat,newfstatat,access"
            words = [strace, "-f", "-s", "500", "-o", str(trace), "-e", f"trace={calls}", *words]
        done = subprocess.run(words, check=False, capture_output=True, text=True, stdin=-3, timeout=600)
        found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        seen = traced(trace.read_text(errors="replace"), folder) if strace else {}
        listener.settimeout(0.2)
        try:
            listener.accept()
            asked = "a connection was asked for"
        except TimeoutError:
            asked = ""
        for i, case in enumerate(cases):
            others = [line for line in seen.get(i, []) if f'"{case}"' not in line]
            ended = "" if found.get(str(i)) == "refused" else f"ended as {found.get(str(i))}: {done.stderr[-500:]}"
            row.check(ended or others, case)
        if asked or (folder / "ran").exists():
            row.check(asked or "a script was run", "all")
        row.note = f"{'strace: ' if strace else ''}no other file, process or connection" if not row.fallen else ""


def traced(text: str, folder: Path) -> dict[int, list[str]]:
    """For each case what was done that a video needs not: sockets, processes, and files of the folder."""
    seen: dict[int, list[str]] = {}
    case = -1
    for line in text.splitlines():
        if mark := re.search(rf'"{MARK}(\d+)"', line):
            case = int(mark[1])
        call = re.search(r"\b(socket|connect|execve|open|openat)\(", line)
        if case >= 0 and call and ("open" not in call[1] or (str(folder) in line and "O_DIRECTORY" not in line)):
            seen.setdefault(case, []).append(line)
    return seen


TRIALS: dict[str, tuple[Trial, int]] = {
    "mutants of videos": (mutants, 8400),
    "lists, addresses and pipes under the names of videos": (lists, 438),
}

if __name__ == "__main__":
    sys.exit(main(TRIALS))
