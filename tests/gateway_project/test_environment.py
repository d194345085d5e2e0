"""Values of settings: what is taken, and what a refusal says."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from gateway_project.environment import Environment, is_bind


@pytest.fixture
def env(monkeypatch):
    """Reads ``X`` from a value: ``env(value)``."""

    def make(value=None, file=None):
        for name, given in (("X", value), ("X_FILE", file)):
            if given is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(given))
        return Environment()

    return make


@pytest.mark.parametrize("value", [None, "", "  "])
def test_unset_and_empty_are_the_default(env, value):
    held = env(value)
    assert (held.text("X", "a"), held.flag("X", default=True), held.whole("X", 3)) == ("a", True, 3)
    assert (held.positive("X", 0.5), held.one_of("X", ("json", "text"))) == (0.5, "json")
    assert held.cache("X") == ""


def test_empty_list_is_a_list(env):
    """An operator who allows nothing must not get the default."""
    assert (env().words("X", ["a"]), env("").words("X", ["a"]), env(" b, c ,").words("X")) == (
        ["a"],
        [],
        ["b", "c"],
    )


@pytest.mark.parametrize(
    ("value", "meant"),
    [("true", True), ("ON", True), ("1", True), ("no", False), ("False", False), ("0", False)],
)
def test_flag_reads_the_usual_words(env, value, meant):
    assert env(value).flag("X", default=not meant) is meant


@pytest.mark.parametrize(
    ("method", "arguments", "value", "says"),
    [
        ("whole", (1,), "two", "X must be a whole number of at least 1, not 'two'."),
        ("whole", (1,), "0", "X must be a whole number of at least 1, not '0'."),
        ("whole", (1,), "1.5", "X must be a whole number of at least 1, not '1.5'."),
        ("positive", (1,), "0", "X must be a number above 0, not '0'."),
        ("positive", (1,), "nan", "X must be a number above 0, not 'nan'."),
        ("positive", (1,), "inf", "X must be a number above 0, not 'inf'."),
        ("positive", (1,), "5s", "X must be a number above 0, not '5s'."),
        ("one_of", (("json", "text"),), "xml", "X must be one of json, text, not 'xml'."),
        ("header", ("A",), "a b", "X must be the name of an HTTP header, not 'a b'."),
        (
            "bind",
            ("h:1",),
            "here",
            "X must be an address and port, such as 127.0.0.1:8000, or unix:/path, not 'here'.",
        ),
        ("networks", ("::1",), "a", "X must be addresses or networks such as 10.0.0.0/8, or *, not 'a'."),
        ("time_zone", ("UTC",), "Mars/X", "X must be a time zone such as Europe/Oslo, not 'Mars/X'."),
        (
            "cache",
            (),
            "redis://:secret@h:port",
            "X must begin with redis:// or rediss:// and name a host, such as redis://127.0.0.1:6379/0.",
        ),
        (
            "database",
            ("sqlite:///x",),
            "mysql://u:secret@h/x",
            "X must look like postgres://user:password@host:5432/name or sqlite:////path/to/file.",
        ),
    ],
)
def test_unusable_value_is_refused_with_name_and_remedy(env, method, arguments, value, says):
    with pytest.raises(ImproperlyConfigured) as raised:
        getattr(env(value), method)("X", *arguments)
    assert str(raised.value) == says


def test_flag_that_is_neither_is_refused(env):
    """A misspelt ``true`` must not switch a protection off."""
    with pytest.raises(ImproperlyConfigured) as raised:
        env("ture").flag("X", default=False)
    assert str(raised.value) == "X must be true or false, not 'ture'."


def test_file_counts_without_its_last_line_break(env, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("postgres://u:p@db:5432/name\n")
    assert env(file=secret).database("X", "")["NAME"] == "name"


def test_file_that_is_not_there_is_named_by_its_setting(env, tmp_path):
    with pytest.raises(ImproperlyConfigured) as raised:
        env(file=tmp_path / "none").text("X")
    assert str(raised.value) == "The file that X_FILE names cannot be read: No such file or directory."


def test_value_that_begins_with_a_dollar_is_itself(env):
    assert env("$ecret").text("X") == "$ecret"


@pytest.mark.parametrize(
    ("value", "usable"),
    [
        ("127.0.0.1:8000", True),
        ("[::1]:80", True),
        ("localhost:0", True),
        ("unix:/run/sluice.sock", True),
        ("unix:", False),
        ("::1:80", False),
        (":8000", False),
        ("127.0.0.1", False),
        ("127.0.0.1:99999", False),
        ("host:port", False),
    ],
)
def test_bind_is_an_address_and_port(value, usable):
    assert is_bind(value) is usable


@pytest.mark.parametrize("value", ["127.0.0.1,::1", "10.0.0.0/8", "*"])
def test_networks_are_taken_as_they_are(env, value):
    assert env(value).networks("X", "") == value


@pytest.mark.parametrize("value", ["production", "ada's laptop", "x" * 30, ""])
def test_a_label_is_taken_as_it_is(env, value):
    assert env(value).label("X") == value


@pytest.mark.parametrize("value", ["x" * 31, "a\nb"])
def test_a_label_that_no_header_has_room_for_is_refused(env, value):
    with pytest.raises(ImproperlyConfigured, match="X must have at most 30 printable characters"):
        env(value).label("X")
