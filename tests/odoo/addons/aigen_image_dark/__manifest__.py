{
    "name": "Dark colours for the tests of AI Images",
    "summary": "Odoo Community has the switch for dark mode (the cookie color_scheme), but no dark colours of its own",
    "version": "1.0.0",
    "category": "Hidden",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["web"],
    "assets": {
        "web.assets_web_dark": [
            (
                "before",
                "web/static/src/scss/primary_variables.scss",
                "aigen_image_dark/static/primary_variables.dark.scss",
            ),
        ],
    },
}
