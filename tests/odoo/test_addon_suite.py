"""The addons' own tests, run by Odoo: models, access, HTTP, the tour, the widgets."""

import re
import subprocess

import pytest

from real_odoo import RealOdoo, odoo_command

SECONDS = 1500
PYTHON = ("--update=aigen_image", "--test-tags=/aigen_image,/aigen_image_utm")
WIDGETS = ("--test-tags=/web:WebSuite.test_unit_desktop[@aigen_image]",)
"""Without an update: after one, Odoo runs the tests of updated modules only."""


def run_tests(odoo: RealOdoo, options: tuple[str, ...]) -> str:
    """What Odoo says while it runs these tests in the copy of the database."""
    done = subprocess.run(
        [*odoo_command(), *odoo.copy, *options, "--stop-after-init", "--http-port=0", "--workers=0"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    return said


@pytest.mark.parametrize(("options", "at_least"), [(PYTHON, 40), (WIDGETS, 1)], ids=["python", "widgets"])
def test_the_addons_own_tests_pass(real_odoo, options, at_least):
    said = run_tests(real_odoo, options)
    ran = re.search(r"0 failed, 0 error\(s\) of (\d+) tests", said)
    assert ran, said[-4000:]
    assert int(ran[1]) >= at_least
