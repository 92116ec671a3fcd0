"""Which judge for which task."""

from medcli.config.schema import Evaluate
from medcli.evaluation.judge import Judge
from medcli.preprocessing.plan import Plan


def judge_for(plan: Plan, settings: Evaluate) -> Judge:
    match plan.task:
        case "classification":
            from medcli.evaluation.classification import ClassificationJudge

            return ClassificationJudge(plan, settings)
        case "detection":
            from medcli.evaluation.detection import DetectionJudge

            return DetectionJudge(plan, settings)
        case "segmentation":
            from medcli.evaluation.segmentation import SegmentationJudge

            return SegmentationJudge(plan, settings)
