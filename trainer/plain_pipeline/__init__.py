# SPDX-License-Identifier: BSD-3-Clause
"""The way from alerts to scores that anybody would write first: what `broker-plugin bench` compares with."""
