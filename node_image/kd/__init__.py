"""Knowledge distillation in ELABiP: one way to make z_k and the prior a file, both ends of it on one page."""

from collections.abc import Callable, Mapping

from node_image.kd.features import FeaturesPrior, FeaturesPupil
from node_image.kd.full import FullStudentPupil
from node_image.kd.logits import LogitsPrior, LogitsPupil
from node_image.kd.stats import StatsPrior, StatsPupil
from node_image.kd.strategy import Prior, Pupil, Setting
from node_image.kd.student import StudentPrior, StudentPupil
from node_image.readout import Matrix

PUPILS: Mapping[str, Callable[[Setting], Pupil]] = {
    "features": FeaturesPupil,
    "logits": LogitsPupil,
    "none": StudentPupil,  # of the whole model
    "stats": StatsPupil,
    "student": StudentPupil,
}
PRIORS: Mapping[str, Callable[[Setting], Prior]] = {
    "features": FeaturesPrior,
    "logits": LogitsPrior,
    "none": StudentPrior,
    "stats": StatsPrior,
    "student": StudentPrior,
}


def pupil_of(setting: Setting, own: Matrix) -> Pupil:
    """A device's half; `own` is the readout of its own network, which a full student is not."""
    params = setting.params
    return FullStudentPupil(setting, own) if params.has_full_student else PUPILS[params.kd](setting)
