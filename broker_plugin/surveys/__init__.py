# SPDX-License-Identifier: BSD-3-Clause
"""Survey packets to alerts: sentinels, units, bands and time scales end here."""
