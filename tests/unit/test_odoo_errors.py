"""Which of Odoo's faults pass by themselves, and what is made of answers that are not Odoo's. Pure."""

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigen_bridge.clients.odoo_errors import BUG_TRIES, COOLDOWN, Kind, fault, kind_of, refused, result_of
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

NUMBER = 7
ENVELOPE = {"jsonrpc": "2.0", "id": NUMBER}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


def answered(body: bytes, **headers: str) -> StepError:
    with pytest.raises(StepError) as caught:
        result_of(httpx.Response(200, headers=headers), body, NUMBER)
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        "psycopg2.pool.PoolError",
        "psycopg2.DatabaseError",
        "psycopg2.InternalError",
        "psycopg2.extensions.TransactionRollbackError",
        "psycopg2.extensions.QueryCanceledError",
        "psycopg2.errors.SerializationFailure",
        "psycopg2.errors.AdminShutdown",
        "psycopg2.errors.ReadOnlySqlTransaction",
        "psycopg2.errors.UndefinedTable",
        "odoo.exceptions.ConcurrencyError",
        "odoo.exceptions.LockError",
        "odoo.sql_db.AnyError",
        "odoo.http.SessionExpiredException",
        "odoo.http.RegistryError",
        "werkzeug.exceptions.ServiceUnavailable",
        "werkzeug.exceptions.TooManyRequests",
        "werkzeug.exceptions.BadGateway",
        "werkzeug.exceptions.GatewayTimeout",
        "werkzeug.exceptions.InternalServerError",
        "werkzeug.exceptions.NotFound",
        "requests.exceptions.ReadTimeout",
        "requests.exceptions.ConnectionError",
        "urllib3.exceptions.MaxRetryError",
        "socket.gaierror",
        "redis.exceptions.ConnectionError",
        "botocore.exceptions.ReadTimeoutError",
        "sqlalchemy.exc.OperationalError",
        "OperationalError",
        "builtins.MemoryError",
        "builtins.OSError",
        "builtins.TimeoutError",
        "builtins.ConnectionResetError",
        "builtins.BlockingIOError",
    ],
)
def test_a_state_of_odoo_or_of_what_it_needs_passes_and_is_tried_for_a_day(name: str) -> None:
    error = fault({"name": name, "message": "no"})

    assert isinstance(error, TransientError)
    assert (error.tries, error.away, error.retry_after) == (None, False, None)


@pytest.mark.parametrize("name", ["psycopg2.OperationalError", "psycopg2.InterfaceError"])
def test_an_odoo_whose_database_is_away_is_away(name: str) -> None:
    error = fault({"name": name, "message": 'FATAL: database "odoo" does not exist'})

    assert isinstance(error, TransientError)
    assert (error.tries, error.away) == (None, True)


@pytest.mark.parametrize(
    "name",
    [
        *(f"odoo.exceptions.{name}" for name in ("AccessError", "AccessDenied", "ValidationError", "UserError")),
        *(f"odoo.exceptions.{name}" for name in ("MissingError", "RedirectWarning")),
        *(f"builtins.{name}" for name in ("ValueError", "TypeError", "KeyError", "IndexError", "AttributeError")),
        "builtins.UnicodeDecodeError",
        "werkzeug.exceptions.Forbidden",
        "werkzeug.exceptions.BadRequest",
        "werkzeug.exceptions.RequestEntityTooLarge",
    ],
)
def test_a_fault_of_the_call_or_the_addon_is_permanent(name: str) -> None:
    error = fault({"name": name, "message": "no"})

    assert isinstance(error, PermanentError)
    assert error.code == "odoo_" + name.rpartition(".")[2].lower()


@pytest.mark.parametrize(
    "name",
    [
        *(f"builtins.{name}" for name in ("RuntimeError", "Exception", "NameError", "print", "__doc__")),
        *("odoo.addons.acme.models.AcmeError", "werkzeug.exceptions.NoSuch", "x", ".", "a..b"),
    ],
)
def test_an_unknown_fault_is_tried_a_few_times(name: str) -> None:
    error = fault({"name": name, "message": "oops"})

    assert isinstance(error, TransientError)
    assert error.tries == BUG_TRIES


def test_a_missing_core_model_is_a_database_that_is_being_restored_and_a_missing_key_is_a_bug() -> None:
    assert [kind_of("builtins.KeyError", text) for text in ("'res.users'", "ir.http")] == [Kind.SERVER] * 2
    assert [kind_of("builtins.KeyError", text) for text in ("'image'", "no 'res.users' in x")] == [Kind.CALLER] * 2


def test_logins_that_odoo_ignores_for_a_while_pass_after_that_while() -> None:
    message = "Too many login failures, please wait a bit before trying again."
    error = fault({"name": "odoo.exceptions.AccessDenied", "message": message})

    assert isinstance(error, TransientError)
    assert (error.code, error.retry_after) == ("odoo_login_cooldown", COOLDOWN)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"   ", b"[]", b"null", b"5", b"true", b'"ok"', b"{}", b'{"status": "maintenance"}', b"NaN"),
        *(b"<!DOCTYPE html><title>Odoo is being updated</title>", b"\xff\xfe\xfa", b"[" * 100_000, b"9" * 5000),
        *(b'{"jsonrpc": "2.0", "id": 8, "result": {"applied": true}}', b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    ],
)
def test_what_is_no_answer_of_odoos_counts_as_an_odoo_that_is_away(body: bytes) -> None:
    error = answered(body, **{"content-type": "text/html"})

    assert isinstance(error, TransientError)
    assert (error.code, error.away, error.tries) == ("odoo_answer_unreadable", True, None)
    assert "AIGEN_ODOO__URL" in error.detail


def test_the_error_shows_what_was_seen() -> None:
    assert "it is an empty list" in answered(b"[]").detail
    assert "status 'maintenance'" in answered(b'{"status": "maintenance"}').detail
    assert "Odoo is being updated" in answered(b"<title>Odoo is being updated</title>").detail
    assert "another call" in answered(b'{"jsonrpc": "2.0", "id": 8, "result": 1}').detail


@pytest.mark.parametrize(
    "error",
    [
        *("boom", ["boom"], 500, True, {}, {"code": 200}, {"code": 200, "message": "Odoo Server Error"}),
        *({"data": None}, {"data": "boom"}, {"data": []}, {"data": {}}, {"data": {"name": None}}),
        {"data": {"name": "", "debug": "Traceback (most recent call last): key=secret and more that is long"}},
    ],
)
def test_an_error_without_its_class_is_an_unknown_fault(error: object) -> None:
    found = answered(json.dumps(ENVELOPE | {"error": error}).encode())

    assert isinstance(found, TransientError)
    assert (found.code, found.away, found.tries) == ("odoo_answer_unreadable", False, BUG_TRIES)
    assert "Traceback" not in found.detail


def test_a_method_that_returns_nothing_has_no_result() -> None:
    assert result_of(httpx.Response(200), json.dumps(ENVELOPE).encode(), NUMBER) is None
    assert result_of(httpx.Response(200), b'{"jsonrpc": "2.0", "id": null, "error": null, "result": 0}', NUMBER) == 0


@settings(max_examples=40)
@given(json_values, st.sampled_from(["result", "error", "data", "name", "message", None]))
def test_whatever_the_answer_is_it_is_a_result_or_one_of_our_errors(value: object, place: str | None) -> None:
    shapes = {
        "result": ENVELOPE | {"result": value},
        "error": ENVELOPE | {"error": value},
        "data": ENVELOPE | {"error": {"data": value}},
        "name": ENVELOPE | {"error": {"data": {"name": value, "message": "m"}}},
        "message": ENVELOPE | {"error": {"data": {"name": "builtins.RuntimeError", "message": value}}},
    }
    body = json.dumps(shapes[place] if place else value).encode()
    try:
        result_of(httpx.Response(200), body, NUMBER)
    except StepError as error:
        assert error.detail.isprintable()  # noqa: PT017 - a result is as good
        assert len(error.detail) < 1000  # noqa: PT017
        assert len(error.code) < 80  # noqa: PT017


@pytest.mark.parametrize("status", [404, 405, 408, 425, 429, 500, 502, 503, 504, 520])
def test_a_status_of_a_proxy_that_may_pass_is_transient(status: int) -> None:
    error = refused(httpx.Response(status, headers={"Retry-After": "120"}), "http://odoo.test/jsonrpc")

    assert isinstance(error, TransientError)
    assert error.code == f"odoo_http_{status}"
    assert error.retry_after is not None
    assert error.retry_after.total_seconds() == 120
    assert error.away is (status in {404, 405, 502, 503, 504})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_permanent_and_says_where_to_without_secrets(status: int) -> None:
    location = "https://user:secret@www.odoo.test:8443/web/login?token=secret#secret"
    error = refused(httpx.Response(status, headers={"Location": location}), "http://odoo.test/jsonrpc")

    assert isinstance(error, PermanentError)
    assert "https://www.odoo.test:8443/web/login." in error.detail
    assert "AIGEN_ODOO__URL" in error.detail
    assert "secret" not in error.detail


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        *(("/web/login", "http://odoo.test/web/login"), ("//www.odoo.test/a", "http://www.odoo.test/a")),
        *(("https://[::1]:8069/x", "https://[::1]:8069/x"), ("http://[bad", "cannot be read")),
        *(("https://a.test/" + "x" * 5000, "https://a.test/xxx"), ("http://a.test/\x1b[31m", "http://a.test/")),
    ],
)
def test_any_location_is_shown_short_and_on_one_line(location: str, shown: str) -> None:
    answer = httpx.Response(302, headers=[(b"Location", location.encode())])
    error = refused(answer, "http://odoo.test/jsonrpc")

    assert shown in error.detail
    assert error.detail.isprintable()
    assert len(error.detail) < 600
