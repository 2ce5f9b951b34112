"""Reproduces the papers' tables and figures: `python -m eval table2 --data configs`.

Data flow: dataset configs -> `data_folder` (pairs) -> `row_methods` (trained `models`,
`baselines`) -> `measure` (scores of every pair, kept in `pair_store`) -> `results`, laid out as
`tables` says -> `writing`, `figures`, `report`. It runs from a checkout; `rcn_tf` does not need it.
"""
