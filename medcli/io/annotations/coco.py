"""COCO JSON: one file for many images, with `images`, `annotations` and `categories`.

COCO boxes are x, y, width, height in pixels counted from 0, where a box over a whole image of 640 columns is
0, 0, 640, ...: already half-open, so x1 = x + width and nothing is added or taken.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from medcli.errors import FormatError
from medcli.io.annotations.shapes import Annotation


@dataclass
class CocoFile:
    """Attributes:
    annotations: One per entry of `images`, in their order.
    categories: Category id to name, in the order of the ids.
    faults: One sentence on each annotation that belongs to no image or no category, or has no box.
    """

    annotations: list[Annotation] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def read_coco(path: Path) -> CocoFile:
    """Regions marked `iscrowd` count as crowd.

    Raises FormatError for a broken file or one that lacks `images`, `annotations` or `categories`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images, annotations, categories = (content[key] for key in ("images", "annotations", "categories"))
        coco = CocoFile(categories={int(entry["id"]): str(entry["name"]) for entry in categories})
        coco.categories = dict(sorted(coco.categories.items()))
        by_id = {
            entry["id"]: Annotation(image=str(entry["file_name"]), size=_size(entry)) for entry in images
        }
        coco.annotations = list(by_id.values())
        for entry in annotations:
            _add(coco, by_id, entry)
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: broken JSON ({type(error).__name__}); write it again.") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path}: expected COCO's images (id, file_name), annotations (image_id, category_id, bbox) and"
            f" categories (id, name); {type(error).__name__} at {error}."
        ) from None
    return coco


def _size(entry: dict) -> tuple[int, int] | None:
    rows, columns = int(entry.get("height") or 0), int(entry.get("width") or 0)
    return (rows, columns) if rows > 0 and columns > 0 else None


def _add(coco: CocoFile, by_id: dict, entry: dict) -> None:
    label = f"annotation {entry.get('id', '?')}"
    box = entry.get("bbox")
    if entry["image_id"] not in by_id:
        coco.faults.append(f"{label} belongs to image {entry['image_id']}, which is not listed.")
    elif entry["category_id"] not in coco.categories:
        coco.faults.append(f"{label} has category {entry['category_id']}, which is not listed.")
    elif not isinstance(box, list) or len(box) != 4:
        coco.faults.append(f"{label} has no bbox of four numbers.")
    else:
        x, y, width, height = map(float, box)
        name = coco.categories[entry["category_id"]]
        by_id[entry["image_id"]].add(name, (x, y, x + width, y + height), bool(entry.get("iscrowd", 0)))
