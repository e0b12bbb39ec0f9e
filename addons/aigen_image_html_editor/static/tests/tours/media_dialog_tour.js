import { registry } from "@web/core/registry";

/**
 * Somebody edits a web page, looks for a picture, has a new one made instead, and saves. The selectors are those of Odoo 18
 * and of Odoo 19. The editors are large and load slowly.
 */
const STEPS = [
    { trigger: ".o_website_preview.editor_has_snippets, .o_builder_sidebar_open" },
    { trigger: ":iframe .odoo-editor-editable .s_text_image img", run: "click" },
    { trigger: "we-button[data-replace-media], [data-action-id=replaceMedia]", run: "click" },
    { trigger: ".o_select_media_dialog .nav-link:contains('AI images')", run: "click" },
    { trigger: ".o_aigen_pick[title='A lighthouse']" },
    { trigger: ".o_aigen_picker_search input", run: "edit boat" },
    { trigger: ".o_aigen_picks:not(:has([title='A lighthouse'])) .o_aigen_pick[title='An old boat']" },
    { trigger: ".o_aigen_ask_button:disabled:contains('Generate 4')" },
    { trigger: ".o_aigen_ask_prompt", run: "edit A red boat" },
    { trigger: ".o_aigen_ask_settings .btn-group button:contains('2')", run: "click" },
    { trigger: ".o_aigen_ask_button:enabled:contains('Generate 2')", run: "click" },
    { trigger: ".o_aigen_pick[title='A red boat']:nth-child(2)" },
    { trigger: ".o_aigen_pick[title='A red boat']:first", run: "click" },
    { trigger: "body:not(:has(.o_select_media_dialog)) :iframe .s_text_image img[alt='A red boat']" },
    { trigger: "button[data-action=save]:enabled", run: "click" },
    { trigger: "body:not(.editor_has_snippets):not(.o_website_navbar_hide):not(.o_builder_open)" },
];

registry.category("web_tour.tours").add("aigen_media_dialog", {
    steps: () => STEPS.map((step) => ({ timeout: 60000, ...step })),
});
