"""Files of landmarks: CSV in the dialects that programs write, and 3D Slicer's."""
