# Part of aigen-bridge. See LICENSE file for full copyright and licensing details.
{
    "name": "AI Images",
    "summary": "Ask for a picture, keep working, see it arrive",
    "version": "1.6.0",
    "category": "Marketing",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["base", "web", "bus", "mail"],
    "external_dependencies": {"python": ["requests"]},
    "data": [
        "security/aigen_image_groups.xml",
        "security/ir.model.access.csv",
        "security/aigen_image_rules.xml",
        "data/res_users.xml",
        "data/ir_cron.xml",
        "views/aigen_image_request_views.xml",
        "views/aigen_image_model_views.xml",
        "views/aigen_budget_views.xml",
        "views/aigen_bridge_check_views.xml",
        "views/res_config_settings_views.xml",
        "views/aigen_image_report_views.xml",
        "views/menus.xml",
    ],
    "demo": ["demo/aigen_image_demo.xml"],
    "assets": {
        "web.assets_backend": [
            "aigen_image/static/src/shimmer.scss",
            "aigen_image/static/src/**/*",
        ],
        "web.assets_unit_tests": [
            "aigen_image/static/tests/**/*.test.js",
        ],
        "web.assets_tests": [
            "aigen_image/static/tests/tours/**/*",
        ],
    },
    "application": True,
}
