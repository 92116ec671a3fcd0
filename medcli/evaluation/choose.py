"""Which judge for which task."""

from medcli.config.schema import Evaluate
from medcli.evaluation.judge import Judge
from medcli.preprocessing.plan import Plan
from medcli.run import Run


def judge_for(plan: Plan, settings: Evaluate, run: Run | None = None, *, own: bool = True) -> Judge:
    """
    Args:
        run: Whose calibration or thresholds are judged as well; None: it has none.
        own: The cases are from the data that the run was made with.
    """
    match plan.task:
        case "classification":
            from medcli.evaluation.classification import ClassificationJudge

            return ClassificationJudge(plan, settings, run, own=own)
        case "regression":
            from medcli.evaluation.regression import RegressionJudge

            return RegressionJudge(plan, settings)
        case "detection":
            from medcli.evaluation.detection import DetectionJudge

            return DetectionJudge(plan, settings, run)
        case "segmentation" if plan.single_objects:
            from medcli.evaluation.objects import ObjectsJudge

            return ObjectsJudge(plan, settings)
        case "segmentation":
            from medcli.evaluation.segmentation import SegmentationJudge

            return SegmentationJudge(plan, settings)
