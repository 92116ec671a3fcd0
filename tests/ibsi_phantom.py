"""The digital phantom of the Image Biomarker Standardisation Initiative, and its published reference values.

Zwanenburg et al., "Image biomarker standardisation initiative", arXiv:1612.07003, section 5.1 and its tables.
"""

import numpy as np

OUT = 0
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [OUT, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, OUT, OUT], [1, 1, 1, 1, 1], [1, 1, OUT, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, OUT, OUT], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)
"""(plane, row, column); voxels of 2 x 2 x 2 mm; 0 lies outside the region. Bins of width 1, one per value."""

BY_CODE = {
    # morphology
    "RNU0": 556, "YEKZ": 592, "C0JK": 388, "2PR5": 0.698, "SKGS": 0.0411, "BQWJ": 0.599, "KRCK": 1.19, "QCFX": 0.843,
    "25C7": 0.186, "KLMA": 0.672, "L0JK": 13.1, "TDIC": 11.4, "P9VJ": 9.31, "7J51": 8.54, "Q3CK": 0.816, "N17B": 0.749,
    "PBX1": 0.869, "R59B": 0.866, "6BDE": 1.17, "RDD2": 1.36, "R3ER": 0.961, "7T7F": 1.03, "99N0": 1.2e3,
    # intensity-based statistics
    "Q4LE": 2.15, "ECT3": 3.05, "KE2A": 1.08, "IPH6": -0.355, "Y12H": 1, "1GSF": 1, "QG58": 1, "8DWT": 4, "84IY": 6,
    "SALO": 3, "2OJQ": 5, "4FUA": 1.55, "1128": 1.11, "N72L": 1.15, "7TET": 0.812, "9S40": 0.6,
    "N8CA": 567, "5ZWQ": 2.77,
    # intensity histogram
    "X6K6": 2.15, "CH89": 3.05, "88K1": 1.08, "C3I7": -0.355, "WIFQ": 1, "1PR8": 1, "GPMT": 1, "OZ0C": 4, "3NCY": 6,
    "AMMC": 1, "WR0O": 3, "5Z3W": 5, "D2ZX": 1.55, "WRZB": 1.11, "4RNL": 1.15, "CWYJ": 0.812, "SLWD": 0.6, "TLU2": 1.27,
    "BJ5W": 0.512, "12CE": 8, "8E6O": 3, "VQB3": -50, "RHQZ": 1,
    # grey level co-occurrence, 3D, merged
    "GYBY": 0.509, "60VM": 2.15, "UR99": 3.13, "TU9B": 2.57, "TF7R": 1.38, "D3YU": 3.21, "NTRS": 1.64, "ZGXS": 4.3,
    "OEEB": 7.41, "P6QZ": 2.11, "8ZQL": 0.291, "ACUI": 5.12, "8S9J": 1.38, "IB1Z": 0.688, "NDRX": 0.856, "WF0Z": 0.631,
    "1QCO": 0.902, "E8JP": 0.0574, "NI2N": 0.183, "QWB0": 5.19, "DG8W": 7.41, "7NFM": 17.4, "AE86": 147,
    "R8DG": -0.0288, "JN9H": 0.269,
    # grey level run length, 3D, merged
    "22OV": 0.729, "W4KF": 2.76, "V3SW": 0.607, "G3QZ": 9.64, "HTZT": 0.372, "GD3A": 8.67, "IVPO": 2.16, "3KUM": 15.6,
    "R5YN": 281, "OVBL": 0.43, "W92Y": 328, "IC23": 0.501, "9ZK5": 0.68, "8CE5": 3.48, "SXLW": 0.598, "HJ9O": 2.62,
}  # fmt: skip
"""By IBSI's code, as published: three significant digits."""

AGGREGATED = ("GYBY", "TU9B", "8ZQL", "ACUI", "NI2N", "R8DG", "22OV")
BY_AGGREGATION = {
    "2d_averaged": (0.519, 2.05, 0.368, 5.28, -0.0121, -0.155, 0.641),
    "2d_slice_merged": (0.512, 2.24, 0.352, 5.19, 0.0173, -0.0341, 0.661),
    "2.5d_direction_merged": (0.489, 2.48, 0.286, 5.39, 0.178, -0.124, 0.665),
    "2.5d_merged": (0.492, 2.61, 0.277, 5.29, 0.182, -0.0334, 0.68),
    "3d_averaged": (0.503, 2.4, 0.303, 5.32, 0.157, -0.157, 0.705),
}
"""The published values of these codes for the other aggregations."""
