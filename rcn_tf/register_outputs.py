"""Names and meanings of the files in a registration's folder; loads nothing, for `--help`."""

FIELD, INVERSE_FIELD = "displacement.nii.gz", "inverse_displacement.nii.gz"
COMPOSITE, AFFINE = "transform.h5", "affine.tfm"
WARPED = "warped.nii.gz"
DICOM_FOLDER = "warped_dicom"

OUTPUTS = {
    WARPED: "moving image on the fixed image's grid",
    DICOM_FOLDER: "the same as a DICOM series",
    "warped_labels.nii.gz": "moving labels on the fixed image's grid",
    FIELD: "displacement field on the fixed image's grid, mm",
    INVERSE_FIELD: "its inverse, on the moving image's grid",
    AFFINE: "the affine part, an ITK transform",
    COMPOSITE: "affine part and deformation, an ITK composite transform",
    "report.html": "pictures and metrics; open it in a browser",
    "overview.png": "before and after in one picture",
    "metrics.json": "metrics, with settings",
    "metrics.csv": "the same metrics as a table",
}
"""What `rcn register` may write, in the order in which it is listed."""
