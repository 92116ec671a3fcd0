"""The one place that turns a task's name into the task."""

from medcli.config.schema import Config
from medcli.preprocessing.plan import Plan
from medcli.tasks.base import Task


def task_for(config: Config, plan: Plan) -> Task:
    match plan.task:
        case "classification" if config.train.learn_from == "images":
            from medcli.tasks.views import Views

            return Views(config, plan)
        case "classification" if config.model.name == "features":
            from medcli.tasks.baseline import Baseline

            return Baseline(config, plan)
        case "classification" if config.model.name == "autoencoder":
            from medcli.tasks.anomaly import Anomaly

            return Anomaly(config, plan)
        case "classification" if config.model.linear_alone:
            from medcli.tasks.linear import LinearMembers

            return LinearMembers(config, plan)
        case "classification":
            from medcli.tasks.classification import Classification

            return Classification(config, plan)
        case "regression" if config.model.name == "features":
            from medcli.tasks.baseline_numbers import NumberBaseline

            return NumberBaseline(config, plan)
        case "regression" if config.model.linear_alone:
            from medcli.tasks.linear import LinearNumbers

            return LinearNumbers(config, plan)
        case "regression":
            from medcli.tasks.regression import Regression

            return Regression(config, plan)
        case "detection":
            from medcli.tasks.detection import Detection

            return Detection(config, plan)
        case "segmentation" if plan.single_objects:
            from medcli.tasks.objects import ObjectSegmentation

            return ObjectSegmentation(config, plan)
        case "segmentation":
            from medcli.tasks.segmentation import Segmentation

            return Segmentation(config, plan)
