# SPDX-License-Identifier: BSD-3-Clause
"""The Django app: tells the TOM of its data service."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["TomAstroM3Config"]


class TomAstroM3Config(AppConfig):
    """Name this app in `INSTALLED_APPS` as `tom_astrom3`."""

    name = "tom_astrom3"
    label = "tom_astrom3"
    verbose_name = "AstroM3 candidates"

    def data_services(self) -> list[dict[str, str]]:
        """Return the data services of this app, as the TOM Toolkit asks for them."""
        return [{"class": "tom_astrom3.dataservice.AstroM3DataService"}]
