"""Writes DICOM series for the tests, with the attributes that a scanner writes."""

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
    slopes=None,
    changes=None,
):
    """Writes one file per slice of a SimpleITK image with integer values.

    Args: tilt: shift of the corner along y per mm of z (a tilted gantry). positions: indices
        of the slices to write; all by default. tag: ending of the file names. slopes: of the
        rescaling, one for each slice. changes: attributes, or a function of the slice's index.
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
        slope = 1 if slopes is None else slopes[index]
        header.RescaleIntercept, header.RescaleSlope = intercept, slope
        stored = np.rint((array[index] - intercept) / slope)
        header.PixelData = stored.astype(np.uint16).tobytes()
        for keyword, value in (changes(index) if callable(changes) else changes or {}).items():
            setattr(header, keyword, value)
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
        # The order of the files is random.
        name = f"{(index * 7919) % 10007:05d}_{uid[-5:]}{tag}"
        pydicom.dcmwrite(folder / name, header, enforce_file_format=True)
    return uid


IDENTITY = {
    "PatientName": NAME,
    "PatientID": NUMBER,
    "PatientBirthDate": "19480229",
    "PatientSex": "F",
    "PatientAge": "063Y",
    "PatientWeight": 71.5,
    "PatientAddress": "Musterweg 12",
    "InstitutionName": "Klinik am Fluss",
    "ReferringPhysicianName": "Heiler^Hans",
    "PerformingPhysicianName": "Bilder^Berta",
    "OperatorsName": "Knopf^Karl",
    "StationName": "STATION-77",
    "DeviceSerialNumber": "SN-998877",
    "AccessionNumber": "ACC-31337",
    "StudyID": "STUDY-55",
    "StudyInstanceUID": "1.2.826.0.1.111",
    "FrameOfReferenceUID": "1.2.826.0.1.222",
    "StudyDate": "20110713",
    "StudyTime": "081500",
    "SeriesDate": "20110713",
    "SeriesTime": "091533",
    "AcquisitionDate": "20110713",
    "AcquisitionTime": "091644",
    "ContentDate": "20110713",
    "StudyDescription": "Follow-up of Erika",
    "ProtocolName": "Protocol of Dr Heiler",
    "ImageComments": "patient restless",
    "PatientPosition": "HFS",
    "BodyPartExamined": "ERIKA",
    "WindowCenter": ["40", "-600"],
    "WindowWidth": ["400", "1500"],
    "WindowCenterWidthExplanation": ["ERIKA", "LUNG"],
}
"""What must not be found in a file without its identity (but for window and position)."""

CT = {**IDENTITY, "KVP": 120, "AcquisitionNumber": 3, "ConvolutionKernel": "ERIKA30f"}
MR = {
    **IDENTITY,
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
    "Modality": "MR",
    "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": "SP",
    "ScanOptions": "ERIKA",
    "MRAcquisitionType": "3D",
    "RepetitionTime": 2300,
    "EchoTime": 2.98,
    "InversionTime": 900,
    "EchoTrainLength": 1,
    "SequenceName": "erika_tfl3d",
}


def pet_header(index):
    """Attributes of a whole-body PET: slices from above, four to a bed of three minutes."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "C-111A1", "SRT", "^18^Erika"
    tracer = Dataset()
    tracer.Radiopharmaceutical = "FDG for Erika"
    tracer.RadiopharmaceuticalStartTime = "081233.5"
    tracer.RadiopharmaceuticalStartDateTime = "20110713081233.5"
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 351000000, 6586.2
    tracer.RadionuclidePositronFraction = 0.97
    tracer.RadionuclideCodeSequence = [code]
    return {
        **IDENTITY,
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128",
        "Modality": "PT",
        "AcquisitionTime": f"09{18 + 3 * (index // 4):02d}44",
        "Units": "BQML",
        "CountsSource": "EMISSION",
        "SeriesType": ["WHOLE BODY", "IMAGE"],
        "CorrectedImage": ["DECY", "ATTN", "ERIKA"],
        "DecayCorrection": "START",
        "DecayFactor": 1.01 + 0.02 * (index // 4),
        "FrameReferenceTime": 191000 + 180000 * (index // 4),
        "ActualFrameDuration": 180000,
        "DoseCalibrationFactor": 1.0,
        "RadiopharmaceuticalInformationSequence": [tracer],
        "NumberOfSlices": 12,
        "ImageIndex": int(index) + 1,
    }


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
