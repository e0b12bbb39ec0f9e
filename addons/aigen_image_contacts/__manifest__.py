# Part of aigen-bridge. See LICENSE file for full copyright and licensing details.
{
    "name": "AI Images for contacts",
    "summary": "Make the pictures of contacts",
    "version": "1.0.0",
    "category": "Marketing",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["aigen_image", "contacts"],
    "data": ["data/aigen_image_prompt_template.xml", "views/res_partner_views.xml"],
    "auto_install": True,
}
