# SPDX-License-Identifier: BSD-3-Clause
"""What is kept beside targets: the alerts that surveys have withdrawn."""

from __future__ import annotations

from django.db import models

__all__ = ["WithdrawnAlert"]


class WithdrawnAlert(models.Model):
    """An alert that was withdrawn, also where no target was made of it.

    A candidate may come after its retraction: from another topic, or from the dead letters of the service.
    """

    alert_key = models.CharField(max_length=64, primary_key=True)
