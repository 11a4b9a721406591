# SPDX-License-Identifier: BSD-3-Clause
"""Baselines of `trainer evaluate`: other classifiers, trained on a run's stars and asked the same."""
