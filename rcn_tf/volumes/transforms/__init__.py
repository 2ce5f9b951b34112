"""Transforms of physical space: made of a network's flow, read from files, chained, inverted."""
