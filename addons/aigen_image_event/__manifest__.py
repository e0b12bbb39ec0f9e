# Part of aigen-bridge. See LICENSE file for full copyright and licensing details.
{
    "name": "AI Images for events",
    "summary": "Make the badge backgrounds of events",
    "version": "1.0.0",
    "category": "Marketing",
    "author": "InfluenceGen",
    "license": "LGPL-3",
    "depends": ["aigen_image", "event"],
    "data": ["data/aigen_image_prompt_template.xml", "views/event_event_views.xml"],
    "auto_install": True,
}
