# Part of aigen-bridge. See LICENSE file for full copyright and licensing details.
{
    "name": "AI Images for products",
    "summary": "Make the pictures of products",
    "version": "1.0.0",
    "category": "Marketing",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["aigen_image", "product"],
    "data": ["data/aigen_image_prompt_template.xml", "views/product_template_views.xml"],
    "assets": {"web.assets_tests": ["aigen_image_product/static/tests/tours/**/*"]},
    "auto_install": True,
}
