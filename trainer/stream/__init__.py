# SPDX-License-Identifier: BSD-3-Clause
"""What is normal on a survey's own stream: forests and calibration from an archive of its alerts."""
