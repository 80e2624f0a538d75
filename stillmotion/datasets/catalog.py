"""The known data sets by name."""

from stillmotion.datasets.base import DataSet
from stillmotion.datasets.diving48 import DIVING48
from stillmotion.datasets.folder import FOLDER
from stillmotion.datasets.hmdb51 import HMDB51
from stillmotion.datasets.kinetics import KINETICS
from stillmotion.datasets.something import SSV2
from stillmotion.datasets.ucf101 import UCF101
from stillmotion.errors import DataError, did_you_mean

DATASETS: dict[str, DataSet] = {one.name: one for one in (*KINETICS, SSV2, UCF101, HMDB51, DIVING48, FOLDER)}
ALIASES = {"k400": "kinetics400", "k600": "kinetics600", "k700": "kinetics700", "ucf": "ucf101", "hmdb": "hmdb51"}
ALIASES |= {"somethingsomethingv2": "ssv2", "sthv2": "ssv2", "somethingv2": "ssv2"}


def find(name: str) -> DataSet:
    """A data set by its name, however it is written: UCF-101, ucf101, k400. Raises `DataError`: there is none."""
    plain = "".join(c for c in name.lower() if c.isalnum())
    plain = ALIASES.get(plain, plain)
    if plain not in DATASETS:
        raise DataError(f"there is no data set {name!r}{did_you_mean(name, DATASETS)}; any other one is `folder`")
    return DATASETS[plain]
