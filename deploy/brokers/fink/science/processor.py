# SPDX-License-Identifier: BSD-3-Clause
"""Fink science module: AstroM3's class and anomaly p-value of LSST alerts, as one struct."""

import pandas as pd
from pyspark.sql.functions import pandas_udf

from broker_plugin.brokers.fink import lsst_scores

COLUMNS = ("diaSource", "prvDiaSources", "prvDiaForcedSources", "diaObject")
"""Columns of the table of alerts that `astrom3_scores` takes, in order."""


@pandas_udf(
    "class string, class_probability double, anomaly_score double, anomaly_p_value double, revision string"
)
def astrom3_scores(
    dia_source: pd.DataFrame,
    previous: pd.Series,
    forced: pd.Series,
    dia_object: pd.DataFrame,
) -> pd.DataFrame:
    """Return class, its probability, anomaly score and p-value, and whether the survey withdrew the alert.

    `revision` is then `retraction`, else `initial`. An alert that cannot be judged has an empty class and
    revision, score 0 and p-value 1.
    """
    return lsst_scores(dia_source, previous, forced, dia_object)
