# SPDX-License-Identifier: BSD-3-Clause
"""The paper's model (Rizhko & Bloom, arXiv 2411.08842), weight-compatible, and its results reproduced.

The authors' repository has no licence: all of this was written from a description of what it computes.
"""
