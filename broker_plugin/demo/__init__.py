# SPDX-License-Identifier: BSD-3-Clause
"""A simulated night through the real consumer, with a report."""
