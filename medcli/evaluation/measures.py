"""How every measure is called and what it says, for reports."""

TITLES: dict[str, tuple[str, str]] = {
    "auroc": ("AUROC", "How often a positive case scores above a negative one; 0.5 is chance."),
    "average_precision": ("Average precision", "Area under precision and recall; chance is the prevalence."),
    "accuracy": ("Accuracy", "Share of right decisions."),
    "balanced_accuracy": ("Balanced accuracy", "Mean sensitivity of the classes."),
    "sensitivity": ("Sensitivity", "Share of positive cases that are called positive."),
    "specificity": ("Specificity", "Share of negative cases that are called negative."),
    "ppv": ("PPV", "Share of cases called positive that are; holds at this prevalence."),
    "npv": ("NPV", "Share of cases called negative that are; holds at this prevalence."),
    "f1": ("F1", "Harmonic mean of sensitivity and PPV."),
    "mcc": ("MCC", "Correlation of truth and decision; 0 is chance, 1 perfect."),
    "calibration": ("Predicted - true", "Mean predicted probability minus the true share; above 0: overestimated."),
    "map50": ("mAP .50", "Average precision at IoU .50, mean over the classes."),
    "map": ("mAP .50:.95", "Average precision, mean over IoU .50 to .95 and the classes."),
    "ap50": ("AP .50", "Average precision at IoU .50."),
    "ap": ("AP .50:.95", "Average precision, mean over IoU .50 to .95."),
    "recall50": ("Recall .50", "Share of true boxes that any detection hits at IoU .50."),
    "recall": ("Recall .50:.95", "Share of true boxes that any detection hits, mean over IoU .50 to .95."),
    "froc": ("FROC score", "Mean sensitivity at 1/8 to 8 false alarms per image."),
    "dice": ("Dice", "Overlap, 2 |A and B| / (|A| + |B|); 1 is perfect."),
    "iou": ("IoU", "Overlap, |A and B| / |A or B|; 1 is perfect."),
    "hd95": ("HD95", "95th percentile of the distance between the surfaces, mm where the spacing is known."),
    "asd": ("Surface distance", "Mean distance between the surfaces, mm where the spacing is known."),
    "nsd": ("Surface Dice", "Share of the surfaces that agree within the tolerance."),
    "volume_error": ("Volume error", "Difference of the volumes over the true volume; 0 is perfect."),
}
"""Name in metrics.json to title and one sentence."""
