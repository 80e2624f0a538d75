"""The known data sets by name."""

from itertools import chain

from stillmotion.datasets import diving48, folder, hmdb51, kinetics, something, ucf101
from stillmotion.datasets.base import DataSet
from stillmotion.errors import DataError, did_you_mean

DATASETS: dict[str, DataSet] = {
    one.name: one for one in chain(*(m.data_sets() for m in (kinetics, something, ucf101, hmdb51, diving48, folder)))
}
ALIASES = {"k400": "kinetics400", "k600": "kinetics600", "k700": "kinetics700", "ucf": "ucf101", "hmdb": "hmdb51"}
ALIASES |= {"somethingsomethingv2": "ssv2", "sthv2": "ssv2", "somethingv2": "ssv2"}


def find(name: str) -> DataSet:
    """A data set by its name, however it is written: UCF-101, ucf101, k400. Raises `DataError`: there is none."""
    plain = "".join(c for c in name.lower() if c.isalnum())
    plain = ALIASES.get(plain, plain)
    if plain not in DATASETS:
        raise DataError(f"there is no data set {name!r}{did_you_mean(name, DATASETS)}; any other one is `folder`")
    return DATASETS[plain]
