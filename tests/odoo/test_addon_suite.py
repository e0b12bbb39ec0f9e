"""The addons' own tests, run by Odoo: models, access, HTTP, the tour, the widgets."""

import re
import subprocess
import tempfile

import pytest

from real_odoo import ADDONS, MANIFESTS, RealOdoo, odoo_command

SECONDS = 1700


def run_tests(odoo: RealOdoo, options: tuple[str, ...]) -> str:
    """Returns what Odoo says while it runs these tests in the copy of the database.

    It goes to a file: a browser that Odoo leaves behind would keep a pipe open.
    """
    command = [*odoo_command(odoo.version), *odoo.copy, *options, "--stop-after-init", "--http-port=0", "--workers=0"]
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
        output.seek(0)
        said = output.read()
    assert done.returncode == 0, said[-8000:]
    return said


def test_each_addon_installs_itself_where_odoo_has_what_it_depends_on(real_odoo):
    installed = real_odoo.installed
    expected = {name for name, manifest in MANIFESTS.items() if installed >= set(manifest["depends"])}
    assert installed & MANIFESTS.keys() == expected >= {"aigen_image", "aigen_image_utm"}


def python(names: list[str]) -> tuple[str, ...]:
    """Returns the options that run the addons' tests in Python, with their tours."""
    return ("--update=aigen_image", f"--test-tags={','.join(f'/{name}' for name in names)}")


def widgets(names: list[str]) -> tuple[str, ...]:
    """Returns the options that run the addons' tests of widgets.

    Without an update: after one, Odoo runs the tests of updated modules only.
    """
    suites = [f"@{name}" for name in names if any((ADDONS[0] / name).glob("static/tests/**/*.test.js"))]
    return (f"--test-tags=/web:WebSuite.test_unit_desktop[{','.join(suites)}]",)


@pytest.mark.parametrize(("options", "at_least"), [(python, 40), (widgets, 1)])
def test_the_addons_own_tests_pass(real_odoo, options, at_least):
    said = run_tests(real_odoo, options(sorted(real_odoo.installed & MANIFESTS.keys())))
    ran = re.search(r"0 failed, 0 error\(s\) of (\d+) tests", said)
    assert ran, said[-4000:]
    assert int(ran[1]) >= at_least
