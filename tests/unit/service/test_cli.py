"""The command line as a user meets it when something is wrong: one line, a hint, an exit code."""

from pathlib import Path

import pytest

from service.cli import run_command


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]):
    """Run a command that fails; return its exit code and what it said on standard error."""

    def run(*arguments: str) -> tuple[int, str]:
        code = run_command(list(arguments))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert said.out == ""
        return code, said.err

    return run


def events(tmp_path: Path) -> str:
    path = tmp_path / "events.jsonl"
    path.write_text("", encoding="utf-8")
    return f"file://{path}"


def test_a_wrong_setting_exits_with_2_and_names_its_origin(fails, tmp_path: Path) -> None:
    code, said = fails(
        "run", "ecommerce", "--source", events(tmp_path), "--processes", "0", "--disorder", "ten"
    )

    assert code == 2
    assert said.count("error: ") == 2
    assert "runtime.processes: should be greater than or equal to 1" in said
    assert "--disorder" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--time", "noon"), "domain ecommerce has no time 'noon'"),
        (("--windows", "hours"), "domain ecommerce has no window 'hours'"),
        (("--limit", "high_volume.warning"), "is no limit"),
        (("--limit", "high_volume.medium=3"), "has no limit 'high_volume.medium'"),
        (("--sinks", "s3://bucket"), "'s3://bucket' is no sink"),
        (("--sinks", "stdout,stdout"), "names a sink twice"),
        (("--sinks", "file://relative"), "names no absolute path"),
    ],
)
def test_a_name_that_means_nothing_exits_with_2(
    fails, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, said = fails("run", "ecommerce", "--source", events(tmp_path), *arguments)

    assert code == 2
    assert words in said
    assert "hint: " in said


def test_a_domain_that_does_not_exist_exits_with_2_and_names_those_that_do(fails) -> None:
    code, said = fails("run", "weather", "--source", "-")

    assert code == 2
    assert "there is no domain 'weather'" in said
    assert "ecommerce" in said


def test_a_source_that_means_nothing_exits_with_2(fails) -> None:
    code, said = fails("run", "ecommerce", "--source", "ftp://x")

    assert code == 2
    assert "kinesis://STREAM" in said


def test_standard_input_with_a_recovery_store_exits_with_2(fails, tmp_path: Path) -> None:
    code, said = fails("run", "ecommerce", "--source", "-", "--recovery", str(tmp_path / "r"))

    assert code == 2
    assert "standard input can't be read again" in said
    assert not (tmp_path / "r").exists()


def test_a_file_that_does_not_exist_exits_with_3_and_names_it(fails) -> None:
    code, said = fails("run", "ecommerce", "--source", "file:///no/such/file.jsonl")

    assert code == 3
    assert "/no/such/file.jsonl" in said


def test_a_missing_option_exits_with_2(fails) -> None:
    code, said = fails("run", "ecommerce")

    assert code == 2
    assert "--source" in said


@pytest.mark.parametrize("command", [[], ["run"], ["check"], ["produce"], ["demo"]])
def test_every_command_helps(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2
