"""For a reader in a hurry: seven questions, answered in sentences that the numbers of metrics.json support."""

import math
from collections import Counter
from typing import Any, NamedTuple

from medcli.evaluation.detection_scores import in_one_sentence
from medcli.evaluation.findings import (
    Findings,
    listed,
    of_patients,
    percent,
    percents,
    plural,
    with_interval,
)
from medcli.evaluation.groups import GAP_TITLES, p_text
from medcli.evaluation.measures import SMALLER_IS_BETTER, TITLES, gained
from medcli.postprocessing.learned import in_words, load
from medcli.report import number_text

FEW_PATIENTS = 50
"""Below this the number of patients is told once more beside what it makes unsure."""
CHANCE = {"auroc": 0.5, "balanced_accuracy": 0.5, "mcc": 0.0}
"""What a coin reaches with two classes, of measures that have such a value."""
NO_COLUMNS = (
    "Not known: the data name no columns such as sex, age or site to report by (data.columns.groups)."
)


class Answer(NamedTuple):
    question: str
    sentences: list[str]


def in_short(found: Findings) -> list[Answer]:
    """The seven answers, always in this order."""
    return [
        Answer("What does it do?", _does(found)),
        Answer("On whom was it tested?", tested_on(found)),
        Answer("How good is it?", _good(found)),
        Answer("How sure is that?", _sure(found)),
        Answer("For whom is it worse?", _worse(found)),
        Answer("When does it refuse?", _refuses(found)),
        Answer("What makes it worse?", _disturbed(found)),
    ]


# ---- what it does


def _does(found: Findings) -> list[str]:
    plan, card = found.run.plan, found.run.config.card
    named = listed(plan.classes, "or" if found.run.plan.task == "classification" else "and")
    kind = "volume" if plan.dimensions == 3 else "picture"
    does = {
        "classification": f"Says which of {len(plan.classes)} classes a {kind} belongs to: {named}.",
        "regression": f"Predicts a number from a {kind}: {named}.",
        "detection": f"Finds objects in {kind}s and draws a box around each: {named}.",
        "segmentation": f"Outlines in {kind}s: {named}.",
    }[plan.task]
    if plan.multi_label:
        does = f"Says which of {plural(len(plan.classes), 'finding')} a {kind} shows, several at a time: {named}."
    learned = load(found.run) if plan.task == "segmentation" else None
    if learned is not None and found.run.config.predict.postprocess == "auto":
        does = " ".join([does, *in_words(learned)])
    use = "Intended use: " + (card.intended_use or "not stated") + "."
    return [does, input_text(found), use.replace("..", ".")]


def input_text(found: Findings) -> str:
    """What goes in: kind, colour, size, and the modality where the images say it."""
    plan, card = found.run.plan, found.run.config.card
    colour = {"grey": "grey", "rgb": "RGB", "as_is": plural(plan.channels, "channel")}[plan.color]
    size = " x ".join(map(str, plan.size)) + " pixels" if plan.size else "their own size"
    if plan.grid:
        size = " x ".join(f"{step:.4g}" for step in plan.grid) + " mm per step"
    known = [f"{code} ({count})" for code, count in sorted(found.kept.modalities.items())]
    text = f"{card.images.rstrip('.')}; " if card.images else ""
    text += f"{'volumes' if plan.dimensions == 3 else 'pictures'}, {colour}, brought to {size}"
    if plan.size is None and not plan.spacing:
        text = text.replace("brought to their own size", "in their own size")
    if plan.clinical:
        text += f", and of every case {listed([column.name for column in plan.clinical])} (may be unknown)"
    return f"Input: {text}; modality: {listed(known) if known else 'not said by the files'}."


# ---- on whom


def tested_on(found: Findings) -> list[str]:
    texts = [f"On {found.where}: {found.size}.", _role(found)]
    texts += [_make_up(column, groups) for column, groups in single_columns(found.content).items()]
    if found.kept.patients == found.kept.cases:
        texts.append("Which images share a patient is not known: each counts as a patient of its own.")
    shares = prevalence(found)
    if shares:
        texts.append(shares)
    failed = len(found.kept.failed)
    if failed:
        texts.append(f"{plural(failed, 'case')} could not be judged and {_is(failed)} not counted.")
    return texts


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _role(found: Findings) -> str:
    """Whether the cases had a part in making the model."""
    parts = Counter(row.get("split") or "" for row in found.kept.judged)
    if not found.kept.own:
        told = [note for note in found.kept.notes if "used to train" in note]
        return told[0] if told else "None of these images is among those that the run was trained on."
    if parts["train"]:
        return f"{parts['train']} of them were used to train, so the result flatters the model."
    if parts["val"]:
        chose = ["the best weights"] if found.run.validation_chose_weights else []
        chose += ["the rules of decision"] if "decisions" in found.content else []
        if not chose:
            return "They were not used to train, and chose nothing."
        return f"They were not used to train, but they chose {' and '.join(chose)}, so the result is a little too good."
    return "They were used neither to train nor to choose anything."


def single_columns(content: Any) -> dict[str, list[dict[str, Any]]]:
    """Column to its groups, as in metrics.json."""
    columns: dict[str, list[dict[str, Any]]] = {}
    for group in (content.get("groups") or {}).get("groups", []):
        if len(group["columns"]) == 1:
            columns.setdefault(group["columns"][0], []).append(group)
    return columns


def _make_up(column: str, groups: list[dict[str, Any]]) -> str:
    parts = [f"{group['group']} {of_patients(group['cases'], group['patients'])}" for group in groups]
    return f"{column}: {listed(parts, '/', most=6).replace(' / ', ', ')}."


def prevalence(found: Findings) -> str:
    """Of the classes; how the target is spread; how many objects or labels there are for the other tasks."""
    content, total = found.content, found.content["cases"]
    if "counts" in content:
        shown = [content["positive"]] if "positive" in content else found.run.plan.classes
        counts = content["counts"]
        return f"Prevalence: {listed([f'{name} {percent(counts[name] / total)} ({counts[name]})' for name in shown])}."
    if "target" in content:
        target = content["target"]
        return (
            f"{target['name']}: mean {number_text(target['mean'])}, standard deviation {number_text(target['sd'])}, "
            f"{number_text(target['min'])} to {number_text(target['max'])}."
        )
    for key, what in (("objects", "True objects"), ("judged_cases", "Cases judged by label")):
        if key in content:
            return f"{what}: {listed([f'{name} {count:,}' for name, count in content[key].items()])}."
    return ""


# ---- how good


def _good(found: Findings) -> list[str]:
    first, *others = found.judge.headline
    texts = [f"{found.value(first)}, from {found.based_on(first)}. {TITLES[first][1]}"]
    texts.append(
        f"{_how_called(found)}{listed([found.value(name) for name in others])}. In brackets: 95 % intervals."
    )
    chance, (low, high) = CHANCE.get(first), found.measured.intervals[first]
    two = found.run.plan.num_classes == 2 or first == "auroc"
    if chance is not None and two and low <= chance <= high:
        texts.append(
            f"The interval of {TITLES[first][0]} includes {chance:g}: it may be no better than chance."
        )
    for name, at in (found.content.get("decisions") or {}).get("thresholds", {}).items():
        if len(texts) < 5:
            texts.append(_decides(name, at))
    if "found" in found.content:
        texts += [text for text in [in_one_sentence(found.content["found"], found.measured.overall)] if text]
    labels = found.run.plan.classes
    if found.run.plan.task != "classification" and len(labels) > 1:
        texts.append(_weakest(found))
    return texts


def _how_called(found: Findings) -> str:
    if found.run.plan.task != "classification":
        return "Also "
    rule = (
        "each class called from its threshold on"
        if found.run.plan.multi_label
        else "the most probable class called"
    )
    return f"With {rule}: "


def _decides(name: str, at: dict[str, Any]) -> str:
    bounds = at["intervals"]
    text = (
        f"At the threshold {number_text(at['threshold'])} it calls {name} in "
        f"{percents(at['sensitivity'], bounds['sensitivity'])} of the {plural(at['positives'], 'case')} with it, and "
        f"wrongly in {percents(1 - at['specificity'], [1 - end for end in reversed(bounds['specificity'])])} of the "
        f"{at['negatives']:,} without."
    )
    if at.get("expected_prevalence") is not None and math.isfinite(at["ppv_at_prevalence"]):
        text += (
            f" Where {percent(at['expected_prevalence'])} have it, "
            f"{percents(at['ppv_at_prevalence'], bounds['ppv_at_prevalence'])} of those called have it."
        )
    return text


def _weakest(found: Findings) -> str:
    measure = "ap50" if found.run.plan.task == "detection" or found.run.plan.single_objects else "dice"
    known = {
        name: value
        for name in found.run.plan.classes
        if math.isfinite(value := found.measured.flat[f"{measure}/{name}"])
    }
    if not known:
        return f"{TITLES[measure][0]} is undefined for every class."
    worst = min(known, key=lambda name: known[name])
    return f"Weakest on {worst}: {found.value(f'{measure}/{worst}')}, from {found.based_on(f'{measure}/{worst}')}."


# ---- how sure


def _sure(found: Findings) -> list[str]:
    first, texts = found.judge.headline[0], []
    low, high = found.measured.intervals[first]
    patients = found.content["patients"]
    if math.isfinite(low):
        texts.append(
            f"On other patients like these {found.title(first)} could well be anything from {number_text(low)} to "
            f"{number_text(high)} (95 % interval, {number_text(high - low)} wide)."
        )
    else:
        texts.append("No interval: that needs several patients.")
    if patients < FEW_PATIENTS:
        texts.append(f"It rests on only {plural(patients, 'patient')}, so the interval itself is rough.")
    texts += _calibration(found)
    return texts + [note for note in found.content["notes"] if note.startswith("Shift")][:1]


def _calibration(found: Findings) -> list[str]:
    calibration = found.content.get("calibration")
    if not calibration:
        return []
    scaling = calibration["method"]
    how = (
        "Probabilities are as the network gives them"
        if scaling == "none"
        else f"Probabilities are scaled ({scaling})"
    )
    texts = []
    for name, at in list(calibration["here"].items())[:3]:
        texts.append(
            f"For {name} they are off by {with_interval(at['ece'], at['ece_interval'])} on average; chance alone gives "
            f"a perfect model up to {number_text(at['ece_of_a_perfect_model_at_most'])}."
        )
    return [f"{how}. " + " ".join(texts)]


# ---- for whom worse


def _worse(found: Findings) -> list[str]:
    groups = found.content.get("groups")
    if not groups:
        return [NO_COLUMNS]
    gaps = [gap for gap in groups["gaps"] if gap["worst"]]
    beyond = sorted((gap for gap in gaps if gap["beyond_chance"]), key=lambda gap: -gap["value"])
    texts = [f"More than chance: {_gap(gap)}" for gap in beyond[:2]]
    if len(beyond) > 2:
        texts.append(f"{len(beyond) - 2} more gaps are larger than chance; see Groups.")
    if not beyond and gaps:
        largest = max(gaps, key=lambda gap: gap["value"])
        texts.append(
            f"No gap between groups is larger than chance explains with so many patients. The largest: {_gap(largest)}"
        )
    if not gaps:
        texts.append("Not known: fewer than two groups of any column have enough patients to be compared.")
    small = [
        f"{'/'.join(group['columns'])} {group['group']} ({plural(group['patients'], 'patient')})"
        for group in groups["groups"]
        if group["too_few"] and len(group["columns"]) == 1
    ]
    if small:
        texts.append(f"Too few patients to say: {listed(small, most=8)}.")
    return texts


def _gap(gap: dict[str, Any]) -> str:
    value = with_interval(gap["value"], (gap["low"], gap["high"]))
    return (
        f"{' & '.join(gap['columns'])}: {GAP_TITLES[gap['gap']][1]} {value}, "
        f"worst {gap['worst']}, best {gap['best']} (p = {p_text(gap['p_holm'])}, corrected)."
    )


# ---- when it refuses


NEVER = "Never: no rule to refuse was learned with this run, so every case gets an answer."
QUALITY = {
    "classification": "accuracy",
    "regression": "absolute error",
    "detection": "F1",
    "segmentation": "Dice",
}


def _refuses(found: Findings) -> list[str]:
    sets = (found.content.get("refusal") or {}).get("sets")
    referral = found.content.get("referral")
    texts = _referred(found, referral) if referral else _undecided(found, sets) if sets else [NEVER]
    if sets:
        texts.append(
            f"Its label sets hold the truth in {percents(sets['set_coverage'], sets['intervals']['set_coverage'])} of "
            f"the cases; {percent(sets['asked_coverage'])} were asked for."
        )
    for name, one in (referral or {}).get("promises", {}).items():
        missed = percents(one["missed"], one["interval"])
        if one["promised"]:
            texts.append(
                f"Of {name} its cautious answer misses {missed}; at most {percent(one['asked'])} were asked for."
            )
        else:
            texts.append(f"Of {name} it cannot promise to miss at most {percent(one['asked'])}.")
    return texts


def _referred(found: Findings, referral: dict[str, Any]) -> list[str]:
    """What the run's own rules (input gate, features, expected quality, label sets) refer."""
    total, share = found.content["cases"], referral["referred"]["share"]
    text = f"It refers {percents(share['value'], share['interval'])} of the cases to a person"
    texts = [text + _by_reason(referral["referred"]["by_reason"], total)]
    answered, others = (referral["referred"][f"quality_{which}"] for which in ("answered", "referred"))
    if answered["cases"]:
        text = f"Mean {QUALITY[found.content['task']]} of the {answered['cases']:,} answered: "
        text += with_interval(answered["value"], answered["interval"])
        if others["cases"]:
            text += (
                f", of the {others['cases']:,} referred {with_interval(others['value'], others['interval'])}"
            )
        texts.append(text + ".")
    return texts


def _undecided(found: Findings, sets: dict[str, Any]) -> list[str]:
    """What is referred because the label set does not have exactly one label."""
    answered = percents(sets["answered"], sets["intervals"]["answered"])
    text = f"It answers {answered} of the cases and refers the others to a person"
    texts = [text + _by_reason(sets["referred"], found.content["cases"])]
    right = sets["accuracy_answered"]
    if math.isfinite(right):
        texts.append(
            f"Of those answered {percents(right, sets['intervals']['accuracy_answered'])} are right, against "
            f"{percents(found.measured.overall['accuracy'], found.measured.intervals['accuracy'])} of all."
        )
    return texts


def _by_reason(counts: dict[str, int], total: int) -> str:
    parts = [f"{reason} {percent(count / total)} ({count})" for reason, count in counts.items()]
    return f": {listed(parts)}." if parts else "."


# ---- under which disturbances


MIDDLE, MOST_TOLD = 3, 3


def _disturbed(found: Findings) -> list[str]:
    """What worsens a measure of the robustness curve at the middle strength by more than chance; the most first."""
    robustness = found.content.get("robustness")
    if not robustness:
        return ["Not measured: how noise, blur and other disturbances of the image change the result."]
    if not robustness["corruptions"]:
        return robustness["notes"] or ["Not measured."]
    size = of_patients(robustness["cases"], robustness["patients"])
    clean = [
        f"{found.title(name)} {number_text(robustness['clean'][name]['value'])}"
        for name in robustness["measures"]
    ]
    texts = [
        f"Images were disturbed in {plural(len(robustness['corruptions']), 'way')}, on {size}; undisturbed: "
        f"{listed(clean)}."
    ]
    worse = {}
    for one in robustness["corruptions"].values():
        entry = min(one["strengths"], key=lambda entry: abs(entry["strength"] - MIDDLE))
        lower = [name for name in robustness["measures"] if _worse_by(name, entry["measures"][name])]
        if lower:
            name = min(lower, key=lambda name: gained(name, entry["measures"][name]["difference"]))
            worse[one["title"]] = entry, name, entry["measures"][name]
    told = sorted(worse, key=lambda title: gained(worse[title][1], worse[title][2]["difference"]))
    for title in told[:MOST_TOLD]:
        entry, name, change = worse[title]
        by = with_interval(change["difference"], (change["difference_low"], change["difference_high"]))
        texts.append(
            f"{title} ({entry['level']}, strength {entry['strength']} of 5): {found.title(name)} "
            f"{number_text(change['value'])}, a change of {by}."
        )
    if not worse:
        names = listed([found.title(name) for name in robustness["measures"]], "or")
        verb = "worsens" if set(robustness["measures"]) & SMALLER_IS_BETTER else "lowers"
        texts.append(f"None {verb} {names} by more than chance at strength {MIDDLE} of 5.")
    elif len(told) > MOST_TOLD:
        texts.append(f"Also worse: {listed(told[MOST_TOLD:])}.")
    return texts


def _worse_by(name: str, change: dict[str, Any]) -> bool:
    """By more than chance."""
    end = change["difference_low" if name in SMALLER_IS_BETTER else "difference_high"]
    return end is not None and gained(name, end) < 0
