"""DICOM: a file, a folder or an archive of them as one volume in physical space."""
