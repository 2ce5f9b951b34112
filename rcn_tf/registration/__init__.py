"""Registration of one pair of images, from files to files."""
