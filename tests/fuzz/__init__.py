# SPDX-License-Identifier: BSD-3-Clause
"""Mutants of real packets against the decoder and the filter: `make fuzz`, `make guided`."""
