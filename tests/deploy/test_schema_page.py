# SPDX-License-Identifier: BSD-3-Clause
"""The page about the verdict is the schema that is registered and written."""

from __future__ import annotations

import json
import re

from tests.deploy.schema_page import SCHEMAS, schema_tables
from tests.support.artefacts import REPOSITORY

PAGE = REPOSITORY / "deploy/docs/verdict.md"
BEGIN, END = "<!-- from here on made by pytest --update-golden -->", "<!-- end -->"


def test_the_page_lists_every_field_and_nothing_else(*, update_golden: bool) -> None:
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    listed, _, tail = rest.partition(END)
    made = schema_tables("verdict.v1")
    if update_golden:
        PAGE.write_text(f"{head}{BEGIN}\n\n{made}\n{END}{tail}", "utf-8")
    else:
        assert listed.strip() == made.strip(), "run pytest --update-golden and look at the difference"


def test_what_the_page_says_beside_the_tables_names_fields_that_exist() -> None:
    schema = json.loads((SCHEMAS / "verdict.v1.avsc").read_text("utf-8"))
    known = set(re.findall(r'"name": "(\w+)"', json.dumps(schema)))
    known |= {
        symbol
        for symbols in re.findall(r'"symbols": \[([^\]]*)\]', json.dumps(schema))
        for symbol in re.findall(r"\w+", symbols)
    }
    head = PAGE.read_text("utf-8").partition(BEGIN)[0]
    prose = re.sub(r"```.*?```", "", head, flags=re.DOTALL)
    assert {name for name in re.findall(r"`([a-z_]+)`", prose) if "_" in name} <= known
