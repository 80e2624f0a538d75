"""Where a run takes place: Accelerate, told of devices, precision and trackers."""

from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator

from stillmotion.devices import accelerate_on
from stillmotion.errors import StillmotionError, missing
from stillmotion.training.config import Train


def make_accelerator(train: Train, folder: Path | None = None) -> Accelerator:
    """Start Accelerate for a run; under `accelerate launch` it joins the other processes.
    Trackers write into `folder`; None: there are none.
    Raises `StillmotionError`: this machine has not the device or the precision, or the tracker is not installed.
    """
    tracker = train.track if folder else None
    if tracker and find_spec(tracker) is None:
        raise missing(tracker, f"--track {tracker}")
    precision = "no" if train.precision == "fp32" else train.precision
    try:
        return accelerate_on(train.device, mixed_precision=precision, log_with=tracker, project_dir=folder)
    except StillmotionError:
        raise
    except (ValueError, RuntimeError) as error:
        raise StillmotionError(
            f"cannot use precision {train.precision} here ({error}); try --precision fp32"
        ) from error
