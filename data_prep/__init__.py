"""Builds HDF5 packs from raw scans.

`datasets/` finds a download's files. A recipe (`image_files`, `liver`, `synthetic_study`) makes a
prepared scan of each; `batch` runs it in parallel and keeps `finished_scans`. `packs` and
`config_files` write what training reads; `checking`, `quality` and `contact_sheet` inspect it.
"""
