"""RTSTRUCT: closed contours in the planes of an image, filled."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medcli.errors import FormatError
from medcli.io.dicom.files import text

OVERSAMPLING = 8
"""Points per pixel and axis that decide whether half of it lies inside."""


def structure_names(dataset: Dataset) -> dict[int, str]:
    """ROI names by number, from 1 in the order of the structure set."""
    rois = dataset.get("StructureSetROISequence") or []
    return {order: str(roi.get("ROIName", "")) for order, roi in enumerate(rois, start=1)}


def read_structures(
    dataset: Dataset, path: Path, affine: np.ndarray | None, shape: tuple[int, int, int]
) -> np.ndarray:
    """int32 labels (plane, row, column): the ROI's number where half a voxel lies inside; later ROIs win.

    Contours that share a plane are combined by the even-odd rule, so an inner one is a hole. A contour fills
    the plane nearest to it; where the grid has several planes from one contour to the next, all planes
    nearest to it.

    Raises:
        FormatError: When contours are not parallel to the planes, or none lies within the grid.
    """
    if affine is None:
        raise FormatError(f"{path}: contours need an image with a place in space, this one has none.")
    to_index = np.linalg.inv(affine) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    order = {
        roi.get("ROINumber"): number
        for number, roi in enumerate(dataset.get("StructureSetROISequence") or [], start=1)
    }
    labels = np.zeros(shape, np.int32)
    outlines = {
        order[contours.get("ReferencedROINumber")]: _outlines(contours, to_index, path)
        for contours in dataset.get("ROIContourSequence") or []
        if contours.get("ReferencedROINumber") in order
    }
    if not any(outlines.values()):
        raise FormatError(f"{path}: closed contours were expected, the structure set has none.")
    hit = False
    for number in sorted(outlines):
        for plane, polygons in _by_plane(outlines[number], shape[0]).items():
            hit |= _fill(labels[plane], polygons, number)
    if not hit:
        raise FormatError(
            f"{path}: contours within the image were expected, all lie outside; is it of another scan?"
        )
    return labels


def _outlines(contours: Dataset, to_index: np.ndarray, path: Path) -> list[tuple[float, np.ndarray]]:
    """(plane, (point, (row, column))) of every closed contour in index coordinates."""
    found = []
    for contour in contours.get("ContourSequence") or []:
        if not text(contour, "ContourGeometricType").startswith("CLOSED"):
            continue
        points = _points(contour, path)
        if len(points) < 3:
            continue
        indices = points @ to_index[:3, :3].T + to_index[:3, 3]
        if np.ptp(indices[:, 0]) > 0.5:
            raise FormatError(
                f"{path}: contours parallel to the planes of the image were expected, some cross them; the "
                "structures were drawn on another image."
            )
        found.append((float(indices[:, 0].mean()), indices[:, 1:]))
    return found


def _points(contour: Dataset, path: Path) -> np.ndarray:
    """(n, 3) in LPS mm; the raw text is parsed at once, since a contour may have thousands of numbers."""
    value = contour.get_item("ContourData").value if "ContourData" in contour else None
    try:
        if isinstance(value, bytes):
            points = np.array(value.decode("ascii").strip(" \0").split("\\"), dtype=np.float64)
        else:
            points = np.array([float(item) for item in value or []])
        return points.reshape(-1, 3)
    except ValueError as error:
        raise FormatError(f"{path}: the coordinates of a contour are damaged.") from error


def _by_plane(outlines: list[tuple[float, np.ndarray]], count: int) -> dict[int, list[np.ndarray]]:
    """Polygons by the plane they fill."""
    by_depth: dict[float, list[np.ndarray]] = {}
    for depth, polygon in outlines:
        by_depth.setdefault(round(depth, 2), []).append(polygon)
    if not by_depth:
        return {}
    depths = np.array(sorted(by_depth))
    gap = float(np.median(np.diff(depths))) if len(depths) > 1 else 1.0
    if gap >= 1.5:  # the grid is finer than the contours
        planes = np.arange(
            max(0, int(np.ceil(depths[0] - gap / 2))), min(count, int(depths[-1] + gap / 2) + 1)
        )
        nearest = np.abs(planes[:, None] - depths).argmin(axis=1)
        reached = np.abs(planes - depths[nearest]) <= gap / 2 + 1e-3
        return {
            int(plane): by_depth[depths[index]]
            for plane, index in zip(planes[reached], nearest[reached], strict=True)
        }
    filled: dict[int, list[np.ndarray]] = {}
    for depth in depths:
        plane = int(np.rint(depth))
        if 0 <= plane < count:
            filled.setdefault(plane, []).extend(by_depth[depth])
    return filled


def _fill(plane: np.ndarray, polygons: list[np.ndarray], number: int) -> bool:
    """Set the pixels of which at least half lies inside; tell whether the polygons touch the plane at all."""
    points = np.concatenate(polygons)
    low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, plane.shape)
    if (high <= low).any():
        return False
    coverage = polygon_coverage([polygon - low for polygon in polygons], tuple(high - low))
    plane[low[0] : high[0], low[1] : high[1]][coverage >= 0.5] = number
    return True


def polygon_coverage(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Share of each pixel that lies inside the polygons, float32 in 0..1.

    Scan-line fill by the even-odd rule on `OVERSAMPLING` x `OVERSAMPLING` points per pixel.

    Args:
        polygons: (point, (row, column)) each, closed by its first point; pixel (0, 0) covers -0.5 to 0.5.
        shape: Rows and columns.
    """
    rows, columns = shape[0] * OVERSAMPLING, shape[1] * OVERSAMPLING
    crossings = np.zeros((rows, columns + 1), np.uint8)
    for polygon in polygons:
        fine = (
            np.asarray(polygon, np.float64) + 0.5
        ) * OVERSAMPLING - 0.5  # centres of fine points are whole
        start, end = fine, np.roll(fine, -1, axis=0)
        upward = start[:, :1] <= end[:, :1]
        start, end = np.where(upward, start, end), np.where(upward, end, start)
        first = np.clip(np.ceil(start[:, 0]).astype(int), 0, rows)  # scan lines with start <= line < end
        last = np.clip(np.ceil(end[:, 0]).astype(int), 0, rows)
        counts = np.maximum(last - first, 0)
        edge = np.repeat(np.arange(len(fine)), counts)
        line = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
        slope = (end[edge, 1] - start[edge, 1]) / (end[edge, 0] - start[edge, 0])
        place = start[edge, 1] + (line - start[edge, 0]) * slope
        np.add.at(crossings, (line, np.clip(np.ceil(place).astype(int), 0, columns)), 1)
    inside = np.cumsum(crossings[:, :columns], axis=1, dtype=np.uint8) & 1
    blocks = inside.reshape(shape[0], OVERSAMPLING, shape[1], OVERSAMPLING)
    return blocks.mean(axis=(1, 3), dtype=np.float32)
