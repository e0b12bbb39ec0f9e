# Part of aigen-bridge. See LICENSE file for full copyright and licensing details.
{
    "name": "AI Images for campaigns",
    "summary": "Say which campaign a picture is for",
    "version": "1.3.0",
    "category": "Marketing",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["aigen_image", "utm"],
    "data": ["views/aigen_budget_views.xml", "views/aigen_image_request_views.xml"],
    "auto_install": True,
}
