"""The addons' own tests, run by Odoo: models, access, HTTP, the tour, the widgets."""

import re
import subprocess
import tempfile

import pytest

from real_odoo import RealOdoo, odoo_command

SECONDS = 1500
PYTHON = ("--update=aigen_image", "--test-tags=/aigen_image,/aigen_image_utm")
WIDGETS = ("--test-tags=/web:WebSuite.test_unit_desktop[@aigen_image]",)
"""Without an update: after one, Odoo runs the tests of updated modules only."""


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


@pytest.mark.parametrize(("options", "at_least"), [(PYTHON, 40), (WIDGETS, 1)], ids=["python", "widgets"])
def test_the_addons_own_tests_pass(real_odoo, options, at_least):
    said = run_tests(real_odoo, options)
    ran = re.search(r"0 failed, 0 error\(s\) of (\d+) tests", said)
    assert ran, said[-4000:]
    assert int(ran[1]) >= at_least
