# SPDX-License-Identifier: BSD-3-Clause
"""From source to sink: batches, scoring, delivery, commits."""
