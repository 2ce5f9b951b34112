"""Exports that plain TensorFlow loads without this package."""
