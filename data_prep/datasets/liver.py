"""Liver CT: the training and test sets of RCN, section 4.2. Pages: docs/datasets/."""

from data_prep.datasets.layout import ANYWHERE, NIFTI, Dataset

MSD = Dataset(
    name="msd",
    title="Medical Segmentation Decathlon (liver, hepatic vessels, pancreas)",
    kind="liver",
    # The liver task's training images are LiTS itself, which is a test set here.
    images=(
        rf"{ANYWHERE}Task03_Liver/imagesTs/(?P<task>liver)_(?P<n>\d+){NIFTI}",
        rf"{ANYWHERE}Task08_HepaticVessel/images(?:Tr|Ts)/(?P<task>hepaticvessel)_(?P<n>\d+){NIFTI}",
        rf"{ANYWHERE}Task07_Pancreas/images(?:Tr|Ts)/(?P<task>pancreas)_(?P<n>\d+){NIFTI}",
    ),
    scan_id="{task}/{n}",
    expected=70 + 443 + 420,
)

BFH = Dataset(
    name="bfh",
    title="a folder of abdominal CT, such as that of Beijing Friendship Hospital",
    kind="liver",
    images=(rf"(?P<path>.+?)(?:{NIFTI}|\.mha|\.mhd|\.nrrd|\.nhdr)", r"(?P<path>.+)/"),
    scan_id="{path}",
    subject="",
    expected=92,
    any_number=True,
)

SLIVER = Dataset(
    name="sliver",
    title="SLIVER07",
    kind="liver",
    images=(rf"{ANYWHERE}liver-orig(?P<n>\d+)(?:\.mhd|\.mha|{NIFTI})",),
    labels=(rf"{ANYWHERE}liver-seg(?P<n>\d+)(?:\.mhd|\.mha|{NIFTI})",),
    scan_id="{n}",
    expected=20,
)

LITS = Dataset(
    name="lits",
    title="LiTS",
    kind="liver",
    images=(
        rf"{ANYWHERE}volume-(?P<n>\d+){NIFTI}",
        rf"{ANYWHERE}Task03_Liver/imagesTr/liver_(?P<n>\d+){NIFTI}",
    ),
    labels=(
        rf"{ANYWHERE}segmentation-(?P<n>\d+){NIFTI}",
        rf"{ANYWHERE}Task03_Liver/labelsTr/liver_(?P<n>\d+){NIFTI}",
    ),
    scan_id="{n}",
    expected=131,
)

LSPIG = Dataset(
    name="lspig",
    title="LSPIG (pigs before and during pneumoperitoneum)",
    kind="liver",
    images=(
        rf"{ANYWHERE}(?P<pig>\d{{4}}_\d{{2}})_(?P<phase>aftergas|pregas)(?:{NIFTI}|\.mha|\.mhd|/)",
    ),
    labels=(
        rf"{ANYWHERE}(?P<pig>\d{{4}}_\d{{2}})_(?P<phase>aftergas|pregas)_seg(?:{NIFTI}|\.mha|\.mhd)",
    ),
    scan_id="{pig}_{phase}",
    subject=r"\d{4}_\d{2}",
    expected=34,
    paired=True,
)
