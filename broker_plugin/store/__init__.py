# SPDX-License-Identifier: BSD-3-Clause
"""What is remembered from one alert to the next, in memory, in a file or in Redis."""
