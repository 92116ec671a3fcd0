"""What a search leaves behind: the table of trials, a picture, and the best config."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medcli.config.loading import load_config
from medcli.files import atomic_path, plain, write_csv, write_text
from medcli.search.space import Choice, Space, override
from medcli.search.trials import Found, Trial

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"


def write_all(found: Found, space: Space, config_file: Path, overrides: Sequence[str]) -> None:
    rows = [_row(trial, found.monitor, space) for trial in found.trials]
    write_csv(found.folder / "trials.csv", rows)
    write_picture(found)
    write_text(found.folder / "best.yaml", best_yaml(found, config_file, overrides))


def _row(trial: Trial, monitor: str, space: Space) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state,
        f"val_{monitor}": "" if trial.value is None else f"{trial.value:.6g}",
        "epochs": trial.epochs,
        "minutes": f"{trial.minutes:.2f}",
        **{key: trial.settings.get(key, "") for key in space},
        "reason": trial.reason,
    }


def best_yaml(found: Found, config_file: Path, overrides: Sequence[str]) -> str:
    """What the config says, with the best settings; paths are absolute, so it may lie anywhere."""
    chosen = [override(key, value) for key, value in found.best.settings.items()]
    config = load_config(config_file, [*overrides, *chosen])
    values = plain(config.model_dump(mode="json", exclude_unset=True))
    values["name"] = f"{config.name}_best"
    values["run"] = str(Path(str(config.run)).with_name(f"{Path(str(config.run)).name}_best"))
    head = [
        f"# Found by `medcli search`: trial {found.best.number} of {len(found.trials)}, val_{found.monitor} "
        f"{found.best.value:.4f} after {found.best.minutes:.1f} minutes.",
        f"# Chosen on the {found.validation_cases} validation cases, so that value is too good.",
        "#",
        "#   medcli train best.yaml",
    ]
    return "\n".join(head) + "\n\n" + _yaml(values)


def space_yaml(space: Space) -> str:
    content = {
        key: list(one.values)
        if isinstance(one, Choice)
        else {"low": one.low, "high": one.high, "log": one.log}
        for key, one in space.items()
    }
    return _yaml(content)


def _yaml(values: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)  # its settings are untyped
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = True
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(dict(values), stream)
    return stream.getvalue()


def write_picture(found: Found) -> None:
    """Left the validation measure in the order of the trials, right which settings mattered."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = [one for one in found.trials if one.value is not None]
    for state, colour, marker in (("complete", BLUE, "o"), ("stopped early", GREY, "x")):
        points = [(one.number, one.value) for one in shown if one.state == state]
        if points:
            left.plot(*zip(*points, strict=True), linestyle="", color=colour, marker=marker, label=state)
    best, line = float("-inf"), []
    for one in shown:
        if one.state == "complete" and one.value is not None:
            best = max(best, one.value)
            line.append((one.number, best))
    left.step(*zip(*line, strict=True), where="post", color=ORANGE, label="best so far")
    left.set(title=f"Validation {found.monitor}", xlabel="trial")
    left.legend(frameon=False)
    names = list(found.importance)[::-1]
    right.barh(names, [found.importance[name] for name in names], color=BLUE)
    right.set(
        title="What mattered (fANOVA)" if names else "Too few trials to tell what mattered", xlim=(0, 1)
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(found.folder / "search.png") as temporary:
        figure.savefig(temporary, dpi=110, format="png")
