# SPDX-License-Identifier: BSD-3-Clause
"""Encoders, heads and forests in ONNX Runtime, and the scorer over them."""
