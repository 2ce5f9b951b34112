"""Reproduces the papers' tables and figures: `python -m eval table2 --data configs`.

Data flow: dataset configs -> `studies` (which pairs) -> `methods` (trained models, `baselines`)
-> `measure` (scores of every pair, kept in `store`) -> `tables` -> `report`. Runs from a
checkout; nothing in `rcn_tf` needs it.
"""
