"""How every measure is called and what it says, for reports."""

SMALLER_IS_BETTER = frozenset({"mae", "rmse", "median_ae"})
"""Of all others that are compared with a run's own (under corruptions, say) larger is better."""

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
    "weighted_kappa": (
        "Weighted kappa",
        "Agreement about grades, quadratic weights; 0 is chance, 1 perfect.",
    ),
    "steps_off": ("Grades off", "Mean absolute difference of true and predicted grade; 0 is perfect."),
    "micro_auroc": ("AUROC, all labels", "Every label of every case taken as a question of its own (micro)."),
    "micro_average_precision": ("Average precision, all labels", "As AUROC, all labels (micro)."),
    "micro_sensitivity": ("Sensitivity, all labels", "Share of all present labels that are called (micro)."),
    "micro_specificity": (
        "Specificity, all labels",
        "Share of all absent labels that are not called (micro).",
    ),
    "micro_ppv": ("PPV, all labels", "Share of all called labels that are present (micro)."),
    "micro_npv": ("NPV, all labels", "Share of all labels not called that are absent (micro)."),
    "micro_f1": ("F1, all labels", "Harmonic mean of sensitivity and PPV over all labels (micro)."),
    "calibration": (
        "Predicted - true",
        "Mean predicted probability minus the true share; above 0: overestimated.",
    ),
    "ece": ("Calibration error", "Mean gap between probability and truth, bins of equal mass; 0 is perfect."),
    "brier": ("Brier score", "Mean squared gap between probability and truth; 0 is perfect."),
    "set_coverage": ("Coverage of the sets", "How often the set of labels holds the true one."),
    "set_size": ("Labels per set", "Mean number of labels that cannot be excluded."),
    "answered": ("Answered", "Share of cases with exactly one label in the set; the others are referred."),
    "accuracy_answered": ("Accuracy when answered", "Share of right labels among the cases answered."),
    "mae": ("MAE", "Mean absolute error, in the unit of the target; 0 is perfect."),
    "rmse": ("RMSE", "Root of the mean squared error: as MAE, but large errors count more."),
    "median_ae": ("Median absolute error", "Half of the cases are off by less."),
    "r2": ("R²", "1 - squared errors over the spread of the truth; 1 is perfect, 0 as good as the mean."),
    "pearson": ("Pearson r", "Correlation of true and predicted; blind to a shift and a wrong scale."),
    "spearman": ("Spearman rho", "Correlation of the ranks; asks for the order only."),
    "bias": ("Bias", "Mean of predicted minus true; above 0: too much is said."),
    "limit_low": ("Lower limit of agreement", "Bias - 1.96 standard deviations of the differences."),
    "limit_high": (
        "Upper limit of agreement",
        "Bias + 1.96 standard deviations; 95 % of the differences lie between the limits if they are normal.",
    ),
    "slope": (
        "Calibration slope",
        "Of the line of true on predicted; 1 is perfect, below 1: too spread out.",
    ),
    "intercept": ("Calibration intercept", "Of the same line, at a prediction of 0; 0 is perfect."),
    "mae_of_mean": ("MAE of the mean", "The baseline: always saying the mean of the training part."),
    "skill": ("Skill", "1 - MAE / MAE of the mean; 0 is no better than that mean, 1 perfect."),
    "map50": ("mAP .50", "Average precision at IoU .50, mean over the classes."),
    "map": ("mAP .50:.95", "Average precision, mean over IoU .50 to .95 and the classes."),
    "ap50": ("AP .50", "Average precision at IoU .50."),
    "ap": ("AP .50:.95", "Average precision, mean over IoU .50 to .95."),
    "recall50": ("Recall .50", "Share of true boxes that any detection hits at IoU .50."),
    "recall": ("Recall .50:.95", "Share of true boxes that any detection hits, mean over IoU .50 to .95."),
    "froc": ("FROC score", "Mean sensitivity at 1/8 to 8 false alarms per image."),
    "found_precision": ("Precision (found)", "Share of the boxes that count as found that are right."),
    "found_recall": ("Recall (found)", "Share of the objects that a box that counts as found hits."),
    "found_f1": ("F1 (found)", "Harmonic mean of precision and recall of what counts as found."),
    "found_false": ("False boxes per image", "Of those that count as found; 0 is perfect."),
    "dice": ("Dice", "Overlap, 2 |A and B| / (|A| + |B|); 1 is perfect."),
    "iou": ("IoU", "Overlap, |A and B| / |A or B|; 1 is perfect."),
    "hd95": ("HD95", "95th percentile of the distance between the surfaces, mm where the spacing is known."),
    "asd": ("Surface distance", "Mean distance between the surfaces, mm where the spacing is known."),
    "nsd": ("Surface Dice", "Share of the surfaces that agree within the tolerance."),
    "volume_error": ("Volume error", "Difference of the volumes over the true volume; 0 is perfect."),
    "lesion_sensitivity": (
        "Lesions found",
        "Share of the separate true regions that the prediction touches.",
    ),
    "lesion_precision": (
        "Lesion precision",
        "True regions touched, over these and predicted regions that touch none.",
    ),
    "ap75": ("AP .75", "Average precision at IoU .75."),
    "ap50_90": (
        "AP .50:.90",
        "Objects: TP / (TP + FP + FN), mean over IoU .50 to .90, then over the images.",
    ),
    "pq": ("Panoptic quality", "Objects of all images: SQ x RQ."),
    "sq": ("SQ", "Segmentation quality: mean IoU of the objects that match at IoU .50."),
    "rq": ("RQ", "Recognition quality: F1 of the objects at IoU .50."),
    "ap50_pooled": ("AP .50, all objects", "TP / (TP + FP + FN) at IoU .50 over the objects of all images."),
    "ap50_90_pooled": ("AP .50:.90, all objects", "The same, mean over IoU .50 to .90."),
    "ap50_ranked": (
        "AP .50, ranked",
        "Area under precision and recall at IoU .50, objects ranked by their probability (COCO).",
    ),
    "ap50_90_ranked": ("AP .50:.90, ranked", "The same, mean over IoU .50 to .90."),
    "cldice": (
        "Centreline Dice",
        "How much of the centrelines lies within the other; broken vessels lower it.",
    ),
}
"""Name in metrics.json to title and one sentence."""


def gained(name: str, difference: float) -> float:
    """A difference of a measure with the sign that says whether it is better: above 0."""
    return -difference if name in SMALLER_IS_BETTER else difference
