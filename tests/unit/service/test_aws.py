"""Clients are made for the region that people and containers set."""

from __future__ import annotations

import pytest

from errors import SettingsError
from service.aws import Aws
from service.settings import Aws as AwsSettings


def test_a_containers_region_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert Aws(AwsSettings())("kinesis").meta.region_name == "ap-south-1"


def test_the_setting_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    made = Aws(AwsSettings(region="eu-north-1"))("kinesis")
    assert made.meta.region_name == "eu-north-1"


def test_no_region_at_all_is_an_error_that_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    with pytest.raises(SettingsError) as raised:
        Aws(AwsSettings())("kinesis")
    assert "AWS_REGION" in raised.value.hint
