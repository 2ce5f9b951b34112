"""Lung CT: NLST as prepared for Learn2Reg (RWCNet, section 4.1). Page: docs/datasets/nlst.md."""

from data_prep.datasets.layout import ANYWHERE, NIFTI, Dataset

NLST = Dataset(
    name="nlst",
    title="NLST, as prepared for Learn2Reg",
    kind="lung",
    images=(rf"{ANYWHERE}imagesTr/NLST_(?P<id>\d{{4}}_000[01]){NIFTI}",),
    labels=(rf"{ANYWHERE}masksTr/NLST_(?P<id>\d{{4}}_000[01]){NIFTI}",),
    landmarks=(rf"{ANYWHERE}keypointsTr/NLST_(?P<id>\d{{4}}_000[01])\.csv",),
    landmarks_in="voxels",
    subject=r"\d{4}(?=_)",
    expected=2 * 150,
    shape=(224, 192, 224),
    crop=False,
    window=(-1000.0, 500.0),
    paired=True,
)
