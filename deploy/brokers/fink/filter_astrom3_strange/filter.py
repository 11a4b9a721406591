# SPDX-License-Identifier: BSD-3-Clause
"""LSST alerts that AstroM3 finds stranger than all but one in a hundred sources of their kind."""

import pandas as pd

from broker_plugin.brokers.fink import lsst_strange

DESCRIPTION = "Select LSST alerts with an AstroM3 anomaly p-value of at most 0.01 among sources of their kind"
HBASE_SUPPORT = False


def astrom3_strange(
    diaSource: pd.DataFrame,  # noqa: N803 - Fink finds the columns by these names
    prvDiaSources: pd.Series,  # noqa: N803
    prvDiaForcedSources: pd.Series,  # noqa: N803
    diaObject: pd.DataFrame,  # noqa: N803
) -> pd.Series:
    """Flag the strangest alerts.

    Parameters
    ----------
    diaSource, prvDiaSources, prvDiaForcedSources, diaObject
        Sections of the alert.

    Returns
    -------
    out
        True for those with an anomaly p-value of at most 0.01.
    """
    return lsst_strange(diaSource, prvDiaSources, prvDiaForcedSources, diaObject, max_p_value=0.01)
