"""Writes DICOM series for the tests, with everything that a scanner puts into their headers."""

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

NAME, NUMBER, SECRET = "Mustermann^Erika", "PAT-4711", "inscribed by a vendor"


def write_series(
    folder,
    image,
    *,
    description="portal",
    uid=None,
    intercept=-1024,
    tilt=0.0,
    positions=None,
    tag="",
):
    """Writes one file per slice of a SimpleITK image with integer values.

    Args: tilt: shift of the corner along y per mm of z (a tilted gantry). positions: indices
        of the slices to write; all by default. tag: ending of the file names.
    Returns: the series' UID.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    array = sitk.GetArrayFromImage(image)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    for index in range(len(array)) if positions is None else positions:
        corner = np.array(image.TransformIndexToPhysicalPoint((0, 0, int(index))))
        corner[1] += tilt * index * image.GetSpacing()[2]
        header = _header(uid, description, index)
        header.ImagePositionPatient = [f"{value:.6f}" for value in corner]
        header.ImageOrientationPatient = [f"{v:.9f}" for v in direction[:, :2].T.ravel()]
        header.PixelSpacing = [f"{v:.6f}" for v in image.GetSpacing()[1::-1]]
        header.SliceThickness = f"{image.GetSpacing()[2]:.6f}"
        header.Rows, header.Columns = array.shape[1:]
        header.RescaleIntercept, header.RescaleSlope = intercept, 1
        header.PixelData = (array[index] - intercept).astype(np.uint16).tobytes()
        # Files come in no order.
        name = f"{(index * 7919) % 10007:05d}_{uid[-5:]}{tag}"
        pydicom.dcmwrite(folder / name, header, enforce_file_format=True)
    return uid


def _header(uid, description, index):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(None, Dataset(), file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    header.PatientName, header.PatientID = NAME, NUMBER
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", uid
    header.FrameOfReferenceUID = "1.2.4"
    header.Modality, header.SeriesDescription = "CT", description
    header.InstanceNumber = int(index) + 1
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = 0
    header.private_block(0x0009, "VENDOR", create=True).add_new(1, "LO", SECRET)
    return header
