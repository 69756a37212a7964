"""evidently's Jensen-Shannon distance of batches of 200."""

import warnings

import pandas as pd
from adapter import scores

warnings.filterwarnings("ignore")
from evidently.legacy.calculations.stattests import jensenshannon_stat_test  # noqa: E402
from evidently.legacy.core import ColumnType  # noqa: E402


def score(reference, batch):
    result = jensenshannon_stat_test(
        pd.Series(reference), pd.Series(batch), ColumnType.Categorical, 0.1
    )
    return float(result.drift_score)


scores(score, 200)
