# Part of aigen-bridge. See LICENSE file for full copyright and licensing details.
{
    "name": "AI Images by link",
    "summary": "Show a picture or a board to people without a login, until a date",
    "version": "1.0.0",
    "category": "Marketing",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["aigen_image", "portal"],
    "data": [
        "security/ir.model.access.csv",
        "security/aigen_image_link_rules.xml",
        "data/ir_config_parameter.xml",
        "views/aigen_image_board_views.xml",
        "views/aigen_image_link_views.xml",
        "views/aigen_image_request_views.xml",
        "views/aigen_image_share_views.xml",
        "views/res_config_settings_views.xml",
        "views/shared_templates.xml",
    ],
    "assets": {"web.assets_tests": ["aigen_image_portal/static/tests/tours/**/*"]},
    "auto_install": True,
}
