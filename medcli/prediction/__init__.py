"""From a run folder and new images to predictions on the images' own grid, and to files."""
