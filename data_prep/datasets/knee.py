"""Knee MRI: the Osteoarthritis Initiative (AVSM, section 3). Page: docs/datasets/oai.md."""

from data_prep.datasets.layout import ANYWHERE, NIFTI, Dataset

_NAME = r"(?P<subject>\d{7})(?:_(?P<side>LEFT|RIGHT))?_(?P<visit>V\d\d)"

OAI = Dataset(
    name="oai",
    title="OAI, DESS of the knee",
    kind="knee",
    images=(rf"{ANYWHERE}images/{_NAME}{NIFTI}", rf"{ANYWHERE}images/{_NAME}/"),
    labels=(rf"{ANYWHERE}labels/{_NAME}{NIFTI}",),
    scan_id="{subject}-{side}_{visit}|{subject}_{visit}",
    subject=r"\d{7}",
    labels_are=(1, 2),
    structures={"femoral cartilage": 1, "tibial cartilage": 2},
    shape=(80, 192, 192),
    crop=False,
    expected=22_950 + 176,
    split={"train": 0.7, "validation": 0.3},
)
