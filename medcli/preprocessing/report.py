"""The prepared folder's report: what the data are like, what was decided and why, and every warning."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medcli.boxes import Boxes
from medcli.case import Problem
from medcli.config.schema import Config
from medcli.drawing import HEXES, draw_boxes, draw_labels, to_display, views
from medcli.image import Image
from medcli.preprocessing.checks import problem_rows
from medcli.preprocessing.instances import classes_of
from medcli.preprocessing.labels import IGNORE
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Record, image_path, label_path
from medcli.preprocessing.splits import PARTS
from medcli.preprocessing.targets import LEVELS, spread
from medcli.report import Card, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = 12
VOLUMES = 3
LISTED_PROBLEMS = 300
KINDS_OF_WARNINGS = 12


def write_report(
    out: Path,
    config: Config,
    plan: Plan,
    numbers: dict[str, Any],
    records: Sequence[Record],
    problems: Sequence[Problem],
) -> None:
    """Write report.html; `numbers` is the fingerprint. The arrays of the records must be there."""
    left_out = sum(problem.left_out for problem in problems)
    page = Report("Prepared data", f"{config.name or 'job'}: {plan.task}, {plan.dimensions}D")
    page.cards(
        [
            Card("Cases", len(records), f"{len({record.patient for record in records})} patients"),
            *(Card(part, sum(record.split == part for record in records)) for part in PARTS),
            Card("Left out", left_out),
            Card("Warnings", len(problems) - left_out),
        ]
    )
    page.warnings(_warnings(problems))
    page.heading("Cases").pictures(
        _pictures(out, plan, records), "As the network sees them, before augmentation."
    )
    page.heading("Splits").table(
        _split_table(plan, records),
        "How the target is spread." if plan.target else "Cases in which a class occurs.",
    )
    page.heading("Decisions").table(_decisions(plan, records))
    page.heading("Fingerprint")
    page.paragraph("Of all cases that are not kept for testing; the full numbers are in fingerprint.json.")
    page.table(_numbers_table(numbers))
    for figure, caption in _figures(numbers, records):
        page.figure(figure, caption)
    if problems:
        page.heading("Problems")
        if len(problems) > LISTED_PROBLEMS:
            page.paragraph(f"The first {LISTED_PROBLEMS} of {len(problems)}; all are in problems.csv.")
        page.table(problem_rows(problems[:LISTED_PROBLEMS]))
    page.write(out / "report.html")


# ---- words


def _warnings(problems: Sequence[Problem]) -> list[str]:
    """Kinds of problems with their number and an example; names and numbers within a reason do not make a kind."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(_kind(problem), []).append(problem)
    texts = []
    for members in sorted(kinds.values(), key=lambda members: (not members[0].left_out, -len(members))):
        first = members[0]
        fate = "left out" if first.left_out else "kept"
        where = f"{first.case or first.file}: " if first.case or first.file else ""
        more = (
            f"{len(members)} cases {fate}, for example " if len(members) > 1 else f"{fate}: " if where else ""
        )
        texts.append(f"{more}{where}{first.reason}")
    if len(texts) > KINDS_OF_WARNINGS:
        texts[KINDS_OF_WARNINGS:] = [f"and {len(texts) - KINDS_OF_WARNINGS} more kinds, see Problems below"]
    return texts


def _kind(problem: Problem) -> str:
    """The reason without the words that differ from case to case, and whether the case was left out."""
    words = [word for word in problem.reason.split() if word.strip(",.;:()").isalpha()]
    return f"{problem.left_out} {' '.join(words[:12])}"


def _decisions(plan: Plan, records: Sequence[Record]) -> list[dict[str, str]]:
    """What every decision was, and why."""
    values = plan.model_dump()
    values["intensity"] = "; ".join(_rule(rule.model_dump()) for rule in plan.intensity)
    values["split"] = ", ".join(f"{part} {sum(r.split == part for r in records)}" for part in PARTS)
    values["window"] = "see intensity"
    return [
        {"decision": name, "value": _text(values.get(name)), "why": reason}
        for name, reason in plan.reasons.items()
    ]


def _rule(rule: dict[str, Any]) -> str:
    text = str(rule["kind"])
    if rule["kind"] == "fixed":
        text += f", mean {rule['mean']:.5g}, std {rule['std']:.5g}"
    if rule["low"] is not None:
        text += f", clipped to {rule['low']:.5g} ... {rule['high']:.5g}"
    return text


def _text(value: Any) -> str:
    if value is None:
        return "native"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and value and all(isinstance(entry, int | float) for entry in value):
        return " x ".join(f"{entry:g}" for entry in value)
    if isinstance(value, list):
        return ", ".join(_text(entry) for entry in value)
    return str(value)


def _split_table(plan: Plan, records: Sequence[Record]) -> list[dict[str, Any]]:
    parts = [part for part in PARTS if any(record.split == part for record in records)]
    if plan.target is not None:
        return _target_rows(plan.target.name, parts, records)
    counts = {part: Counter(name for r in records if r.split == part for name in r.classes) for part in parts}
    rows: list[dict[str, Any]] = [
        {"class": name} | {part: counts[part][name] for part in parts} for name in plan.classes
    ]
    members = {part: [record for record in records if record.split == part] for part in parts}
    if any(record.unknown for record in records):
        unknown = {part: Counter(name for r in members[part] for name in r.unknown) for part in parts}
        rows = [
            {"class": row["class"]}
            | {
                part: f"{row[part]} of {len(members[part]) - unknown[part][row['class']]} known"
                for part in parts
            }
            for row in rows
        ]
    if any(not record.classes for record in records):
        rows.append({"class": "(none)"} | {part: sum(not r.classes for r in members[part]) for part in parts})
    rows.append({"class": "all cases"} | {part: len(members[part]) for part in parts})
    rows.append({"class": "patients"} | {part: len({r.patient for r in members[part]}) for part in parts})
    if plan.task == "detection":
        rows.append({"class": "boxes"} | {part: sum(r.objects for r in members[part]) for part in parts})
    return rows


def _target_rows(name: str, parts: Sequence[str], records: Sequence[Record]) -> list[dict[str, Any]]:
    """How the target is spread in every part."""
    members = {part: [record for record in records if record.split == part] for part in parts}
    told = {part: spread([r.target for r in members[part] if r.target is not None]) for part in parts}
    rows: list[dict[str, Any]] = [
        {"of": f"{name}, {key}"} | {part: f"{told[part][key]:.4g}" for part in parts}
        for key in ("mean", "sd", "min", "median", "max")
    ]
    rows.append({"of": "all cases"} | {part: len(members[part]) for part in parts})
    return [*rows, {"of": "patients"} | {part: len({r.patient for r in members[part]}) for part in parts}]


def _numbers_table(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in ("sizes", "spacings_mm"):
        if numbers[name]:
            rows.append({"what": name.replace("_", " ")} | {k: _text(v) for k, v in numbers[name].items()})
    if "target" in numbers:
        spread_of = {key: f"{numbers['target'][key]:.5g}" for key in LEVELS}
        rows.append({"what": numbers["target"]["name"]} | spread_of)
    for name, entry in numbers["boxes"].items():
        spread = entry if name == "per_image" else entry["width_height"]
        what = "boxes per image" if name == "per_image" else f"width x height of {name} (pixels)"
        rows.append({"what": what} | {key: _text(value) for key, value in spread.items()})
    return rows


# ---- pictures


def _pictures(out: Path, plan: Plan, records: Sequence[Record]) -> list[tuple[np.ndarray, str]]:
    training = [record for record in records if record.split == "train"]
    if plan.dimensions == 2:
        return [_picture(out, plan, record) for record in _chosen(training, PICTURES)]
    return [picture for record in _chosen(training, VOLUMES) for picture in _planes(out, plan, record)]


def _chosen(records: Sequence[Record], count: int) -> list[Record]:
    """Some records, evenly over the kinds of classes they show."""
    kinds: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        kinds.setdefault(record.classes, []).append(record)
    chosen: list[Record] = []
    for place in range(count):
        for members in kinds.values():
            step = max(1, len(members) // count)
            if place * step < len(members) and len(chosen) < count:
                chosen.append(members[place * step])
    return chosen


def _picture(out: Path, plan: Plan, record: Record) -> tuple[np.ndarray, str]:
    rgb = to_display(np.load(image_path(out, record.key), mmap_mode="r"))
    scale = max(1, round(160 / max(rgb.shape[:2])))
    rgb = rgb.repeat(scale, 0).repeat(scale, 1)
    text = f"{record.case}: {', '.join(record.classes) or 'no class'}"
    if record.target is not None:
        text = f"{record.case}: {record.target:.4g}"
    if plan.task == "detection":
        label = np.load(label_path(out, record.key))
        boxes = Boxes.of(label[:, :4] * scale, label[:, 4])
        return draw_boxes(rgb, boxes, plan.classes), f"{record.case}: {record.objects} boxes"
    if plan.task == "segmentation":
        label = classes_of(np.load(label_path(out, record.key))).repeat(scale, 0).repeat(scale, 1)
        return draw_labels(rgb, label, plan.label_names), text
    return rgb, text


def _planes(out: Path, plan: Plan, record: Record) -> list[tuple[np.ndarray, str]]:
    spacing = plan.spacing or record.spacing or (1.0, 1.0, 1.0)
    affine = None
    if plan.reorient:  # planes run up, rows backwards, columns to the left
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing[0], -spacing[1], -spacing[2], 1
    image = Image(np.load(image_path(out, record.key)), spacing=tuple(spacing), affine=affine)
    labels = [_drawn(np.load(label_path(out, record.key)))] if plan.task == "segmentation" else []
    shown = []
    for view in views(image, labels, longest=256):
        rgb = draw_labels(view.rgb, view.labels[0], plan.label_names) if labels else view.rgb
        shown.append((rgb, f"{record.case}, {view.name}"))
    return shown


def _drawn(label: np.ndarray) -> np.ndarray:
    """Class ids, without what nobody labelled, which should not choose the planes."""
    classes = classes_of(label)
    return np.where(classes == IGNORE, 0, classes)


# ---- figures


def _figures(numbers: dict[str, Any], records: Sequence[Record]) -> list[tuple["Figure", str]]:
    figures = [
        (_values_figure(entry), f"Values{_channel(n, numbers)}")
        for n, entry in enumerate(numbers["intensities"])
    ]
    figures = figures[:4]
    if len({record.original_shape for record in records}) > 1:
        figures.append((_sizes_figure(records), "Sizes of the images as read"))
    return figures


def _channel(number: int, numbers: dict[str, Any]) -> str:
    return f" of channel {number}" if len(numbers["intensities"]) > 1 else " of the images as read"


def _values_figure(entry: dict[str, Any]) -> "Figure":
    """Density between the percentiles, of all values and of the labelled ones; long tails are drawn shorter."""
    figure, axes = _axes("value", "share of the values")
    everything = list(entry["all"]["percentiles"].values())
    low, middle, high = everything[1], everything[len(everything) // 2], everything[-2]
    unit = max(abs(middle), (high - low) / 100, 1e-6)
    if max(abs(low), abs(high)) > 20 * unit:
        axes.set_xscale("asinh", linear_width=unit)
        grid = np.sinh(np.linspace(np.arcsinh(low / unit), np.arcsinh(high / unit), 41)) * unit
    else:
        grid = np.linspace(low, high if high > low else low + 1, 41)
    for number, (name, summary) in enumerate(entry.items()):
        levels = [float(level) for level in summary["percentiles"]]
        share = np.diff(np.interp(grid, list(summary["percentiles"].values()), levels)) / 100
        axes.stairs(share, grid, fill=True, alpha=0.45, color=HEXES[number + 1], label=name)
    axes.legend(frameon=False)
    return figure


def _sizes_figure(records: Sequence[Record]) -> "Figure":
    figure, axes = _axes("length of the axis", "images")
    shapes = np.array([record.original_shape for record in records])
    names = ("rows", "columns") if shapes.shape[1] == 2 else ("axis 0", "axis 1", "axis 2")
    bins = np.histogram_bin_edges(shapes, bins=30)
    for axis, name in enumerate(names):
        axes.hist(shapes[:, axis], bins=bins, alpha=0.5, color=HEXES[axis + 1], label=name)
    axes.legend(frameon=False)
    return figure


def _axes(x: str, y: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 2.8))
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
