# SPDX-License-Identifier: BSD-3-Clause
"""`manage.py` of the small TOM."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.tom.inside.settings"
    execute_from_command_line(sys.argv)
