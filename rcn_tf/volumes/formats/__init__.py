"""Image files: opening, checking and reading each format, and writing."""
