"""Preparation of images as a network's input: background, foreground box, range, grid."""
