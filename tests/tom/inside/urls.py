# SPDX-License-Identifier: BSD-3-Clause
"""The pages of a TOM."""

from django.urls import include, path

urlpatterns = [path("", include("tom_common.urls"))]
