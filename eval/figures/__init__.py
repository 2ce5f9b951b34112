"""Figures of the tables: trends, boxplots, Jacobians and examples.

Functions return a `matplotlib.figure.Figure`; nothing needs a display.
"""
