"""Classic features of images and regions: intensities, shape, texture, colour, gradients, edges, corners.

NumPy, SciPy and scikit-image only. One module per family, each a pure function from a `Region` to named numbers;
`table.FAMILIES` lists them all with units, definitions and, where the Image Biomarker Standardisation Initiative
(Zwanenburg et al. 2020, Radiology 295:328-338; arXiv:1612.07003) defines them, its codes.
"""
