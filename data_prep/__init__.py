"""Builds HDF5 packs from raw scans.

`datasets/` finds a download's files, a recipe (`generic`, `liver`, `synthetic_study`) makes a
prepared scan of each, `batch` runs it in parallel and keeps finished `parts`, `packs` and
`config_files` write what training reads; `checking`, `quality` and `contact_sheet` look at it.
"""
