# SPDX-License-Identifier: BSD-3-Clause
"""A bundle on surveys that it was not trained on: ASAS, and labelled alerts of ZTF."""
