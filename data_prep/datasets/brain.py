"""Brain MRI: the training and test sets of RCN, section 4.2, and OASIS. Pages: docs/datasets/.

The paper stripped skulls with FreeSurfer. Each dataset therefore also takes a folder of its
subjects: `SUBJECT/mri/brainmask.mgz` (or .nii.gz), where the subject's folder name is the scan's
id.
"""

from data_prep.datasets.layout import ANYWHERE, NIFTI, Dataset

_FREESURFER = rf"{ANYWHERE}(?P<id>[^/]+)/mri/brainmask(?:{NIFTI}|\.mgz)"

LPBA_STRUCTURES = (
    *range(21, 35), *range(41, 51), *range(61, 69), *range(81, 93), 101, 102, 121, 122,
    *range(161, 167), 181, 182,
)  # fmt: skip
"""Ids of the 56 structures of LPBA40: gyri, insulae, cinguli, subcortical, cerebellum, stem."""

ADNI = Dataset(
    name="adni",
    title="ADNI",
    kind="brain",
    images=(
        _FREESURFER,
        rf"{ANYWHERE}(?P<subject>\d{{3}}_S_\d{{4,5}})/[^/]+/[^/]+/(?P<scan>[SI]\d+)/[^/]+{NIFTI}",
        rf"{ANYWHERE}(?P<subject>\d{{3}}_S_\d{{4,5}})/[^/]+/[^/]+/(?P<scan>[SI]\d+)/",
    ),
    scan_id="{id}|{subject}-{scan}",
    subject=r"\d{3}_S_\d{4,5}",
    expected=66,
)

ABIDE = Dataset(
    name="abide",
    title="ABIDE I and II",
    kind="brain",
    images=(
        _FREESURFER,
        rf"{ANYWHERE}(?:ABIDEII-)?(?P<site>[^/]+)/(?P<n>\d+)/session_1/anat_1/(?:mprage|anat){NIFTI}",
    ),
    scan_id="{id}|{site}-{n}",
    expected=1287,
)

ADHD = Dataset(
    name="adhd",
    title="ADHD-200",
    kind="brain",
    images=(
        _FREESURFER,
        rf"{ANYWHERE}(?P<site>[^/]+)/(?P<n>\d+)/session_1/anat_1/mprage_skullstripped{NIFTI}",
        rf"{ANYWHERE}(?P<site>[^/]+)/(?P<n>\d+)/session_1/anat_1/(?:mprage|anat)[^/]*{NIFTI}",
        rf"{ANYWHERE}(?P<site>[^/]+)/sub-(?P<n>\d+)/ses-1/anat/[^/]*T1w{NIFTI}",
    ),
    scan_id="{id}|{site}-{n}",
    expected=949,
)

LPBA = Dataset(
    name="lpba",
    title="LPBA40, delineation space",
    kind="brain",
    images=(
        rf"{ANYWHERE}(?P<id>S\d\d)\.delineation\.skullstripped{NIFTI}",
        rf"{ANYWHERE}(?P<id>S\d\d)\.delineation\.skullstripped\.img(?:\.gz)?",
    ),
    labels=(
        rf"{ANYWHERE}(?P<id>S\d\d)\.delineation\.structure\.label{NIFTI}",
        rf"{ANYWHERE}(?P<id>S\d\d)\.delineation\.structure\.label\.img(?:\.gz)?",
    ),
    labels_are=LPBA_STRUCTURES,
    expected=40,
    atlas="S01",
)

OASIS = Dataset(
    name="oasis",
    title="OASIS, as prepared for Learn2Reg or by neurite",
    kind="brain",
    images=(
        rf"{ANYWHERE}imagesTr/OASIS_(?P<id>\d{{4}})_0000{NIFTI}",
        rf"{ANYWHERE}OASIS_OAS1_(?P<id>\d{{4}})_MR1/aligned_norm{NIFTI}",
    ),
    labels=(
        rf"{ANYWHERE}labelsTr/OASIS_(?P<id>\d{{4}})_0000{NIFTI}",
        rf"{ANYWHERE}OASIS_OAS1_(?P<id>\d{{4}})_MR1/aligned_seg35{NIFTI}",
    ),
    expected=414,
    shape=(192, 224, 160),
    crop=False,
)
