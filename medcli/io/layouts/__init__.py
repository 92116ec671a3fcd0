"""One module per way in which data sets lay out their files: each finds the cases with their labels."""
