from .calibrated import calibrated_trunk as calibrated_trunk
from .frozen_linear import FrozenLinear as FrozenLinear, Precision as Precision
from .learner_agreement import (
    QuantisationReport as QuantisationReport,
    compare_learners as compare_learners,
)
from .one_pass_agreement import (
    OnePassReport as OnePassReport,
    compare_one_pass_learners as compare_one_pass_learners,
)
from .operators import Operators as Operators
from .trunk import FrozenTrunk as FrozenTrunk
