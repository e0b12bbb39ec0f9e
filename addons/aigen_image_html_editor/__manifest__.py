# Part of aigen-bridge. See LICENSE file for full copyright and licensing details.
{
    "name": "AI Images in the editor",
    "summary": "Choose or make a picture while writing a page, a mail or a description",
    "version": "1.1.0",
    "category": "Marketing",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["aigen_image", "html_editor"],
    "assets": {
        "web.assets_backend": ["aigen_image_html_editor/static/src/**/*"],
        "web.assets_unit_tests": ["aigen_image_html_editor/static/tests/*.test.js"],
        "web.assets_tests": ["aigen_image_html_editor/static/tests/tours/**/*"],
    },
    "auto_install": True,
}
