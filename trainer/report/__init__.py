# SPDX-License-Identifier: BSD-3-Clause
"""The evaluation of a bundle in one page and one JSON file: `trainer report`."""
