"""Which sizes of volumes the networks take; known without TensorFlow, for what prepares data."""

MIN_SIZE = 32
"""Smallest number of voxels along each axis."""
