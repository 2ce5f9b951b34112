"""The papers' experiments by name, and the papers' numbers."""
