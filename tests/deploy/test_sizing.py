# SPDX-License-Identifier: BSD-3-Clause
"""The sizing guide's table follows from its rates and assumptions, and they are written down once."""

from __future__ import annotations

import math
import re

from tests.deploy.sizing import CASES, needs, read_values, table_of_needs, worked_example
from tests.support.artefacts import REPOSITORY

PAGE = REPOSITORY / "deploy/docs/sizing.md"
BEGIN, END = "<!-- from here on made by pytest --update-golden -->", "<!-- end -->"


def test_the_table_follows_from_the_rates(*, update_golden: bool) -> None:
    page = PAGE.read_text("utf-8")
    head, _, rest = page.partition(BEGIN)
    listed, _, tail = rest.partition(END)
    values = read_values(page)
    made = f"{worked_example(values)}\n{table_of_needs(values)}"
    if update_golden:
        PAGE.write_text(f"{head}{BEGIN}\n\n{made}\n{END}{tail}", "utf-8")
    else:
        assert listed.strip() == made.strip(), "run pytest --update-golden and look at the difference"


def test_every_symbol_of_the_formulas_has_a_value_and_every_value_is_used() -> None:
    page = PAGE.read_text("utf-8")
    formulas = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0]
    given = set(read_values(page))
    used = set(re.findall(r"\b(?:[a-z]_\w+|[hpu])\b", formulas))
    assert used == given


def test_twice_the_rate_takes_half_the_processes_and_deep_fields_take_more() -> None:
    values = read_values(PAGE.read_text("utf-8"))
    fast = values | {name: 2 * values[name] for name in ("r_ztf", "r_main", "r_deep")}
    for case in CASES:
        exact = needs(case, values)["peak"] / (values["u"] * needs(case, values)["rate"])
        assert needs(case, fast)["processes"] == math.ceil(exact / 2)
    assert needs(CASES[3], values)["processes"] > needs(CASES[2], values)["processes"]
