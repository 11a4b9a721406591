# SPDX-License-Identifier: BSD-3-Clause
"""One file a modality: columns of a batch to tokens."""
