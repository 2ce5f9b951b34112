"""Builds HDF5 packs from raw scans: one module per kind of source, one for the pack format."""
