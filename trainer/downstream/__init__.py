# SPDX-License-Identifier: BSD-3-Clause
"""What embeddings are good for: similar objects, doubtful labels, strange objects, maps and subclasses."""
