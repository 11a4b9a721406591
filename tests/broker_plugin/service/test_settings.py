# SPDX-License-Identifier: BSD-3-Clause
"""File < environment < flags, and a message that helps where they do not fit."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path

import pytest

from broker_plugin.cli import main
from broker_plugin.commands.run import RunFlags, run
from broker_plugin.errors import ConfigurationError
from broker_plugin.instants import parse_moment
from broker_plugin.pipeline.assembly import parse_access, parse_dead_letter_access
from broker_plugin.records import Access
from broker_plugin.service.addresses import sink_address, source_address
from broker_plugin.service.clusters import check_clusters
from broker_plugin.service.consistency import check_service
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.settings import PREFIX, Settings

CONTRACT = (
    *("survey", "bootstrap", "input", "output", "dead-letters", "group", "delivery", "bundle", "device"),
    *("metrics-port", "output-bootstrap", "registry", "input-registry", "schemas", "store", "instance"),
    "group-protocol",
)
"""Flags that others script against."""

REQUIRED = {
    "survey": "ztf",
    "bootstrap": "a:1",
    "input": "i",
    "output": "o",
    "dead_letters": "d",
    "group": "g",
}
"""What `run` cannot do without."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


def config(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_later_layers_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config(tmp_path, 'group = "file"\noutput = "file"\ninput = "file"\nbatch_max = 7')
    monkeypatch.setenv("ASTROM3_OUTPUT", "environment")
    monkeypatch.setenv("ASTROM3_INPUT", "environment")
    settings = load_settings({"input": "flag"}, config=path)
    assert (settings.group, settings.output, settings.input) == ("file", "environment", "flag")
    assert settings.batch_max == 7
    assert settings.device == "auto"


def test_tables_are_merged_over_the_layers_and_names_have_dots_or_underscores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config(
        tmp_path,
        """
        bootstrap = "a:1"
        [kafka.source]
        sasl.username = "me"
        "security.protocol" = "SASL_SSL"
        enable_ssl_certificate_verification = false
        [kafka.sink]
        linger_ms = 5
        """,
    )
    monkeypatch.setenv("ASTROM3_KAFKA__SOURCE__SASL_PASSWORD", "hunter2")
    settings = load_settings(config=path)
    assert source_address(settings).properties == {
        "sasl.username": "me",
        "security.protocol": "SASL_SSL",
        "enable.ssl.certificate.verification": "false",
        "sasl.password": "hunter2",
    }
    assert sink_address(settings).properties == {"linger.ms": "5"}
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()} {source_address(settings)}"


def test_credentials_without_tuning(tmp_path: Path) -> None:
    path = config(tmp_path, '[kafka.sink]\n"linger.ms" = 5\n"sasl.username" = "me"\n"ssl.ca.location" = "/x"')
    address = sink_address(load_settings(config=path)).credentials_only()
    assert set(address.properties) == {"sasl.username", "ssl.ca.location"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('boostrap = "x"', "did you mean 'bootstrap'"),
        (
            '[[routes]]\ntopic = "c"\nmax_pvalue = 0.1',
            r"max_pvalue of \[\[routes\]\] no\. 1.*did you mean 'max_p_value'",
        ),
        ("[limits]\nepoch = 5", "limits.epoch: there is no such setting; did you mean 'epochs'"),
        ('nonsense_of_mine = "x"', "known are survey"),
        ("[kafka.sources]\na = 1", r"\[kafka.source\] and \[kafka.sink\]"),
        ('delivery = "maybe"', r"--delivery or ASTROM3_DELIVERY"),
        ("batch_max = 0", "greater than or equal to 1"),
        ('metrics_port = "secret-value"', "--metrics-port"),
        ("metrics_port = true", r"metrics_port: Input should not be true or false \(--metrics-port"),
        ("store_timeout_s = false", "store_timeout_s: Input should not be true or false"),
        ("[limits]\nepochs = true", r"true or false \(in \[limits\] of the file, or ASTROM3_LIMITS__EPOCHS"),
        ("limits = 3", r"limits: Input should be a table \(in \[limits\] of the file"),
        (
            '[[routes]]\ntopic = "c"\nmax_p_value = true',
            r"max_p_value of .* no\. 1: .* \(in \[\[routes\]\] of the file, or ASTROM3_ROUTES as JSON\)",
        ),
        (
            '[[routes]]\ntopic = "c"\nclasses = "RRAB"',
            r'classes of \[\[routes\]\] no\. 1: Input should be a list, .*\["RRAB"\]',
        ),
        ('[routes]\ntopic = "c"', r"routes: give tables \[\[routes\]\]"),
        ("start_at = 07:30:00", "start_at: Input should be a valid string"),
        ("group =", "is not TOML"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refusal:
        load_settings(config=config(tmp_path, text))
    assert "secret-value" not in str(refusal.value)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-30T00:00:00+05:30", "2026-11-29T18:30:00+00:00"),
        ("2026-11-30T06:00:00Z", "2026-11-30T06:00:00+00:00"),
        ("2026-11-30", "2026-11-30T00:00:00+00:00"),
    ],
)
def test_a_moment_needs_no_quotation_marks(tmp_path: Path, written: str, moment: str) -> None:
    for text in (written, f'"{written}"'):
        settings = load_settings(config=config(tmp_path, f"start_at = {text}"))
        assert parse_moment(settings.start_at).isoformat() == moment


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b'\xef\xbb\xbfgroup = "g"\r\nforce_start = true\r\n')
    settings = load_settings(config=path)
    assert (settings.group, settings.force_start) == ("g", True)


def test_a_misspelt_variable_is_refused_and_those_of_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("ASTROM3_DATA", "ASTROM3_TEST_BOOTSTRAP", "ASTROM3_TEST_REGISTRY", "ASTROM3_REQUIRE_TIERS"):
        monkeypatch.setenv(other, "x")
    monkeypatch.setenv("ASTROM3_BROKER_SERVICE_HOST", "as Kubernetes sets")
    load_settings()
    monkeypatch.setenv("ASTROM3_DEAD_LETTER", "x")
    with pytest.raises(ConfigurationError, match="did you mean ASTROM3_DEAD_LETTERS"):
        load_settings()


@pytest.mark.parametrize("variable", ["KAFKA", "KAFKA__SOURCE", "LIMITS", "ROUTES"])
def test_a_variable_that_is_no_table_is_refused_unquoted(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(f"ASTROM3_{variable}", "hunter2")
    with pytest.raises(ConfigurationError, match=f'"{variable.split("_")[0].lower()}"') as refusal:
        load_settings()
    assert "hunter2" not in str(refusal.value)


def test_every_setting_is_described_and_has_a_flag_but_the_tables() -> None:
    for name, field in Settings.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert field.description.endswith("."), name
    flags = vars(RunFlags()).keys()
    assert flags == set(Settings.model_fields) - {"kafka", "limits", "routes"}
    assert {name.replace("-", "_") for name in CONTRACT} <= flags
    # A parameter may be given by its name only: the order of the flags is nobody's contract.
    parameters = inspect.signature(run).parameters.values()
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert typing.get_type_hints(run)["return"] is int, "the exit status of workers"


def test_what_no_setting_can_be_is_refused_in_the_words_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--survey", "des"])
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert 'Invalid value "des" for --survey. Choose from: "ztf", "lsst".' in said


def test_patterns_may_hold_commas_and_lists_are_split() -> None:
    assert load_settings({"input": "a, b"}).topics == ("a", "b")
    assert load_settings({"input": "b,a, b,"}).topics == ("b", "a"), "each topic once"
    assert load_settings({"input": "^ztf_[0-9]{8,8}_.*"}).topics == ("^ztf_[0-9]{8,8}_.*",)


def test_rights() -> None:
    settings = load_settings()
    assert parse_access(settings.access) == {Access.PUBLIC}
    assert parse_dead_letter_access(settings.dead_letters_access) == ({Access.PUBLIC}, True)
    wider = load_settings({"access": "public, Partnership", "dead_letters_access": "public,caltech"})
    assert parse_access(wider.access) == {Access.PUBLIC, Access.PARTNERSHIP}
    assert parse_dead_letter_access(wider.dead_letters_access) == ({Access.PUBLIC, Access.CALTECH}, False)


def test_exactly_once_on_one_cluster_spelt_twice_is_allowed() -> None:
    flags = {
        "survey": "ztf",
        "bootstrap": "A:1, b:2",
        "output_bootstrap": "b:2,a:1",
        "input": "i",
        "output": "o",
        "dead_letters": "d",
        "group": "g",
        "delivery": "exactly-once",
    }
    check_service(load_settings(flags))
    with pytest.raises(ConfigurationError, match="would read what it writes"):
        check_service(load_settings(flags | {"output": "i"}))
    # Another address may be the same cluster: its brokers are asked.
    elsewhere = load_settings(flags | {"output_bootstrap": "c:3", "output": "i"})
    check_service(elsewhere)
    with pytest.raises(ConfigurationError, match="cannot span two: A:1, b:2 is cluster x, c:3 is cluster y"):
        check_clusters(elsewhere, source="x", sink="y")
    with pytest.raises(ConfigurationError, match="would read what it writes"):
        check_clusters(elsewhere, source="x", sink="x")


@pytest.mark.parametrize("name", ["input", "output", "ledger"])
def test_a_topic_that_cannot_be_is_refused_before_anything_is_opened(name: str) -> None:
    with pytest.raises(ConfigurationError, match="'ver dicts' is no topic"):
        check_service(load_settings(REQUIRED | {name: "ver dicts"}))


@pytest.mark.parametrize("name", ["bootstrap", "output_bootstrap"])
def test_an_address_with_a_scheme_is_refused_before_anything_is_opened(name: str) -> None:
    with pytest.raises(ConfigurationError, match="write host:port"):
        check_service(load_settings(REQUIRED | {name: "http://kafka:9092"}))


def test_a_class_prior_is_a_word_a_line_or_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config(tmp_path, '[class_prior]\nname = "disc"\nEW = 0.75\nEA = 0.25')
    assert load_settings(config=path).class_prior == "disc:EW=0.75,EA=0.25"
    monkeypatch.setenv("ASTROM3_CLASS_PRIOR", "EW=3,EA=1")
    assert load_settings(config=path).class_prior == "EW=3,EA=1"
    assert load_settings({"class_prior": "uniform"}, config=path).class_prior == "uniform"
    monkeypatch.delenv("ASTROM3_CLASS_PRIOR")
    assert load_settings().class_prior == "bundle"
