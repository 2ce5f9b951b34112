"""Files of any name: written whole or not at all, and recognised by their content."""
