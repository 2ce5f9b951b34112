"""Files: whole or not at all when written, known by their content when read, of any name."""
