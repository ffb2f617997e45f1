from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.destinations import Destinations
from dataflows.ecommerce import ECOMMERCE
from errors import SettingsError
from service.setting_values import format_duration, parse_duration, redact
from service.settings import Given, declared, known, load, variable_of


def problems_of(**layers) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(**layers)
    return caught.value.problems


def test_flags_win_over_the_environment_over_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "kinewax.toml"
    file.write_text(
        "[runtime]\nprocesses = 2\nmax_starts = 7\n[source]\nslots = 8\n", encoding="utf-8"
    )

    loaded = load(
        config=file,
        environment={"KINEWAX_RUNTIME__PROCESSES": "3", "KINEWAX_SOURCE__SLOTS": "16"},
        flags={"runtime.processes": Given(4, "--processes")},
    )

    assert loaded.settings.runtime.processes == 4
    assert loaded.settings.source.slots == 16
    assert loaded.settings.runtime.max_starts == 7
    effective = loaded.effective()
    assert effective["runtime.processes"] == {"value": 4, "origin": "--processes"}
    assert effective["source.slots"]["origin"] == "KINEWAX_SOURCE__SLOTS"
    assert effective["runtime.max_starts"]["origin"] == str(file)
    assert effective["admin.port"] == {"value": 0, "origin": "default"}


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kinewax.toml"
    file.write_text("[log]\nlevel = 'debug'\n", encoding="utf-8")

    assert load(environment={"KINEWAX_CONFIG": str(file)}).settings.log.level == "debug"


def test_a_domain_brings_the_names_that_its_users_have() -> None:
    loaded = load(domain=ECOMMERCE)

    assert loaded.settings.sinks.table == "ddb-ecommerce-tab-1"
    assert loaded.effective()["sinks.table"]["origin"] == "domain ecommerce"
    assert load().settings.sinks.table == ""


def test_every_destination_that_a_domain_can_name_is_a_setting() -> None:
    names = {field.name: f"a-{field.name}" for field in fields(Destinations)}

    assert {path for path, _ in Destinations(**names).settings} <= set(known())
    assert not list(Destinations().settings)


def test_each_problem_is_one_line_with_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "kinewax.toml"
    file.write_text("[sinks]\ndeadlin = '3s'\n", encoding="utf-8")

    problems = problems_of(
        config=file,
        environment={"KINEWAX_EVENT_TIME__DISORDER": "10", "KINEWAX_LOG__LEVEL": "loud"},
        flags={"runtime.processes": Given("0", "--processes")},
    )

    assert len(problems) == 4
    assert all("\n" not in problem for problem in problems)
    by_name = {problem.split()[0]: problem for problem in problems}
    assert "--processes" in by_name["runtime.processes:"]
    assert "KINEWAX_EVENT_TIME__DISORDER" in by_name["event_time.disorder:"]
    assert "KINEWAX_LOG__LEVEL" in by_name["log.level:"]
    assert by_name["unknown"] == (
        f"unknown setting sinks.deadlin; did you mean sinks.deadline? (from {file})"
    )


def test_an_unknown_variable_is_named_with_the_nearest_known_one() -> None:
    (problem,) = problems_of(environment={"KINEWAX_SINKS__TABEL": "x"})

    assert problem == "unknown setting KINEWAX_SINKS__TABEL; did you mean KINEWAX_SINKS__TABLE?"


def test_variables_that_kubernetes_makes_of_a_service_called_kinewax_are_not_ours() -> None:
    environment = {"KINEWAX_PORT": "tcp://10.0.0.1:80", "KINEWAX_SERVICE_HOST": "10.0.0.1"}

    assert load(environment=environment).settings == load().settings


def test_a_file_that_is_missing_or_broken_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("processes == 3", encoding="utf-8")

    (absent,) = problems_of(config=tmp_path / "absent.toml")
    (not_toml,) = problems_of(config=broken)

    assert "absent.toml: No such file" in absent
    assert "not TOML" in not_toml


def test_a_top_level_key_is_told_to_be_unknown(tmp_path: Path) -> None:
    file = tmp_path / "kinewax.toml"
    file.write_text("processes = 3\n", encoding="utf-8")

    (problem,) = problems_of(config=file)

    assert "unknown setting processes; did you mean runtime.processes?" in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("10s", timedelta(seconds=10)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["10", "", "s", "-3s", "3 s", "3sec", "s3", "10s5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)))
def test_a_duration_is_read_back_as_written(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", "LATEST"),
        ("TRIM_HORIZON", "TRIM_HORIZON"),
        ("2026-11-01T00:00:00", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01T01:00:00+01:00", "2026-11-01T00:00:00+00:00"),
    ],
)
def test_a_start_position_is_a_word_or_a_moment_in_utc(text: str, expected: str) -> None:
    flags = {"source.start": Given(text, "--start")}

    assert load(flags=flags).settings.source.start == expected


def test_another_start_position_is_refused() -> None:
    (problem,) = problems_of(flags={"source.start": Given("yesterday", "--start")})

    assert "LATEST, TRIM_HORIZON or a time" in problem
    assert "--start" in problem


def test_passwords_in_addresses_are_never_shown() -> None:
    flags = {"aws.endpoint_url": Given("http://me:secret@localhost:4566", "--endpoint-url")}

    assert load(flags=flags).effective()["aws.endpoint_url"]["value"] == (
        "http://***@localhost:4566"
    )
    assert redact("no address") == "no address"


def test_every_setting_has_a_description_a_variable_and_a_default_that_validates() -> None:
    rows = list(declared())

    assert [path for path, *_ in rows] == list(known())
    for path, variable, _, description in rows:
        assert description.endswith("."), path
        assert variable == variable_of(path)


def test_settings_survive_the_way_to_a_worker() -> None:
    settings = load(
        domain=ECOMMERCE,
        flags={
            "sinks.to": Given("aws,stdout", "--sinks"),
            "runtime.recovery": Given("/var/lib/kinewax", "--recovery"),
            "rules.cooldown": Given("5m", "--cooldown"),
        },
    ).settings

    assert type(settings).model_validate(settings.model_dump(mode="json")) == settings
