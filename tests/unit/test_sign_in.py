"""Attempts to sign in, and the roles that groups give."""

import pytest

from aigen_bridge.domain.session import Role
from aigen_bridge.domain.sign_in import NoRoleError, Person, SignInAttempt, role_of

GROUPS = {"operators": ("bridge-operators",), "viewers": ("staff", "bridge-operators")}


def person(*groups: str) -> Person:
    return Person("subject-1", "ada@example.com", frozenset(groups))


def test_an_operator_who_is_also_a_viewer_is_an_operator() -> None:
    assert role_of(person("staff", "bridge-operators"), **GROUPS) is Role.OPERATOR
    assert role_of(person("staff"), **GROUPS) is Role.VIEWER


@pytest.mark.parametrize("groups", [(), ("Staff",), ("bridge",), ("bridge-operators ",), ("/staff",)])
def test_nobody_else_gets_in(groups: tuple[str, ...]) -> None:
    with pytest.raises(NoRoleError) as caught:
        role_of(person(*groups), **GROUPS)
    assert "none of your groups" in caught.value.detail
    assert "bridge-operators" not in caught.value.detail


def test_who_has_no_claim_with_groups_is_told_so() -> None:
    with pytest.raises(NoRoleError, match="no claim 'roles'"):
        role_of(Person("subject-1", "ada", None), **GROUPS, groups_claim="roles")


def test_without_configured_groups_nobody_has_a_role() -> None:
    with pytest.raises(NoRoleError):
        role_of(person("staff"), operators=(), viewers=())


def test_an_attempt_is_known_by_its_state_alone() -> None:
    attempt = SignInAttempt.new()
    assert SignInAttempt.parse(attempt.secret) == attempt
    assert attempt.began(attempt.state)
    assert not attempt.began(SignInAttempt.new().state)
    assert not attempt.began("")
    assert not attempt.began("\ud800é")
    assert 43 <= len(attempt.verifier) <= 128


@pytest.mark.parametrize("cookie", ["", "x" * 42, "x" * 44, "x" * 42 + "\n", "x" * 42 + "é", "../" * 15])
def test_a_cookie_that_holds_no_secret_is_none(cookie: str) -> None:
    assert SignInAttempt.parse(cookie) is None
