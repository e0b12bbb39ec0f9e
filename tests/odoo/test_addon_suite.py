"""The addon's own tests, run by Odoo: models, access, HTTP, the tour, the widgets."""

import re
import subprocess

import pytest

from real_odoo import RealOdoo, odoo_command

SECONDS = 1500


def run_tests(odoo: RealOdoo, tags: str) -> str:
    done = subprocess.run(
        [*odoo_command(), *odoo.options, "--update=aigen_image", f"--test-tags={tags}", "--stop-after-init",
         "--http-port=0", "--workers=0"],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    return said


@pytest.mark.parametrize("tags", ["/aigen_image", "/web:WebSuite.test_unit_desktop[@aigen_image]"])
def test_the_addons_own_tests_pass(real_odoo, tags):
    said = run_tests(real_odoo, tags)
    ran = re.search(r"0 failed, 0 error\(s\) of (\d+) tests", said)
    assert ran, said[-4000:]
    assert int(ran[1]) > 0
