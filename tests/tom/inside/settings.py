# SPDX-License-Identifier: BSD-3-Clause
"""A small TOM on SQLite, with the settings that the page for TOMs shows."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tom_common import default_settings

from tests.support.artefacts import REPOSITORY

FOLDER = Path(os.environ["TOM_FOLDER"])

globals().update({name: value for name, value in vars(default_settings).items() if name.isupper()})

SECRET_KEY = "of a test"  # noqa: S105
DEBUG = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [*default_settings.TOMTOOLKIT_INSTALLED_APPS]
MIDDLEWARE = [*default_settings.TOMTOOLKIT_MIDDLEWARE]
TOM_NAME = "a test"
SITE_ID = 1
ROOT_URLCONF = "tests.tom.inside.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
CRISPY_TEMPLATE_PACK = "bootstrap5"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "OPTIONS": {"timeout": 1.0},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
MEDIA_ROOT = FOLDER
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": FOLDER / "cache",
    }
}
TASKS = {"default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend"}}
TARGET_TYPE = "SIDEREAL"
TARGET_PERMISSIONS_ONLY = True
TARGET_DEFAULT_PERMISSION = "PUBLIC"
MATCH_MANAGERS: dict[str, str] = {}
EXTRA_FIELDS: list[dict[str, str]] = []
AUTH_STRATEGY = "READ_ONLY"
OPEN_URLS: list[str] = []
FACILITIES: dict[str, dict[str, str]] = {}
TOM_FACILITY_CLASSES: list[str] = []
HOOKS: dict[str, str] = {}
HINTS_ENABLED = False
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"": {"handlers": ["console"], "level": "INFO"}},
}

(shown,) = re.findall(
    r"```python\n(.*?)```", (REPOSITORY / "deploy/tom/README.md").read_text("utf-8"), re.DOTALL
)
exec(  # noqa: S102  # the page's own words, with the names of the test
    shown.replace("localhost:9092", os.environ["TOM_BOOTSTRAP"])
    .replace('"candidates"', repr(os.environ["TOM_TOPIC"]))
    .replace("my-tom", os.environ["TOM_GROUP"])
)
ALERT_STREAMS[0]["OPTIONS"]["TIMEOUT_S"] = float(os.environ.get("TOM_TIMEOUT_S", "3"))  # noqa: F821
ALERT_STREAMS[0]["OPTIONS"]["MAX_P_VALUE"] = float(os.environ.get("TOM_MAX_P_VALUE", "1"))  # noqa: F821
ALERT_STREAMS[0]["OPTIONS"]["TENSE"] = "any"  # noqa: F821
