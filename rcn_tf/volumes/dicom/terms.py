"""Code strings of the DICOM standard (PS3.3) that a file without identity may hold.

A header can have any word in these places; only words that the standard defines are known to
identify nobody.
"""

_WORDS = {
    "CorrectedImage": "DECY ATTN SCAT DTIM MOTN PMOT CLN RAN RADL DCAL NORM",
    "CountsSource": "EMISSION TRANSMISSION",
    "DecayCorrection": "NONE START ADMIN",
    "LossyImageCompression": "00 01",
    "LossyImageCompressionMethod": "ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15 ISO_18181_1 "
    "ISO_13818_2 ISO_14496_10 ISO_23008_2",
    "MRAcquisitionType": "2D 3D",
    "Modality": "CT MR PT NM OT US XA CR DX",
    "PatientPosition": "HFS HFP HFDR HFDL FFS FFP FFDR FFDL LFP LFS RFP RFS AFDR AFDL PFDR PFDL",
    "RescaleType": "HU HU_MOD OD US MGML Z_EFF ED EDW PCT",
    "SUVType": "BSA BW LBM LBMJAMES128 LBMJANMA IBW",
    "ScanOptions": "PER RG CG PPG FC PFF PFP SP FS",
    "ScanningSequence": "SE IR GR EP RM",
    "SequenceVariant": "SK MTC SS TRSS SP MP OSP TOF NONE",
    "Units": "CNTS NONE CM2 CM2ML PCNT CPS BQML MGMINML UMOLMINML MLMING MLG 1CM UMOLML PROPCNTS "
    "PROPCPS MLMINML MLML GML STDDEV",
}

TERMS = {keyword: frozenset(words.split()) for keyword, words in _WORDS.items()}
