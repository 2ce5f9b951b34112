"""The datasets of the papers: how their downloads are laid out and what is made of them."""

from data_prep.datasets.brain import ABIDE, ADHD, ADNI, LPBA, OASIS
from data_prep.datasets.heart import ACDC, CARDIAC3D
from data_prep.datasets.knee import OAI
from data_prep.datasets.layout import Dataset
from data_prep.datasets.liver import BFH, LITS, LSPIG, MSD, SLIVER
from data_prep.datasets.lung import NLST

DATASETS = {
    dataset.name: dataset
    for dataset in (
        *(MSD, BFH, SLIVER, LITS, LSPIG, ADNI, ABIDE, ADHD, LPBA, OASIS, NLST),
        *(ACDC, CARDIAC3D),
        OAI,
    )
}

__all__ = ["DATASETS", "Dataset"]
