# SPDX-License-Identifier: BSD-3-Clause
"""The alerts that surveys have withdrawn."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Makes their table."""

    initial = True

    operations: ClassVar = [
        migrations.CreateModel(
            name="WithdrawnAlert",
            fields=[("alert_key", models.CharField(max_length=64, primary_key=True, serialize=False))],
        )
    ]
