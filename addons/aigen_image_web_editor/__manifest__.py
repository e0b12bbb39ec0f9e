# Part of aigen-bridge. See LICENSE file for full copyright and licensing details.
{
    "name": "AI Images in the website editor of Odoo 18",
    "summary": "Choose or make a picture while editing a website or a mailing",
    "version": "1.0.0",
    "category": "Marketing",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["aigen_image_html_editor", "web_editor"],
    "assets": {
        "web.assets_backend": ["aigen_image_web_editor/static/src/**/*"],
    },
    "auto_install": True,
}
