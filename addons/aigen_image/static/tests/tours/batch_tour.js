import { registry } from "@web/core/registry";

/** Milliseconds. Without a bus, as in tests, a view reads itself again only now and then. */
const WAIT = 30_000;
const NEW = [
    { trigger: ".o_nocontent_help:contains('Ask for your first picture')" },
    { trigger: ".o-kanban-button-new", run: "click" },
    { trigger: ".o_aigen_stage:contains('Your picture appears here')" },
];

/** A person asks for four variants of a prompt, sees them come, tries one again that failed, and chooses one. */
registry.category("web_tour.tours").add("aigen_image_variants_tour", {
    url: "/odoo/ai-images",
    steps: () => [
        ...NEW,
        { trigger: "[name=prompt] textarea", run: "edit A lighthouse at dusk" },
        { trigger: "[name=variants] label:contains('4')", run: "click" },
        { trigger: "button[name=action_generate]:contains('Generate 4 · about 0.14 USD')" },
        { trigger: "[name=prompt] textarea", run: "press Control+Enter" },
        { trigger: ".o_aigen_batch:contains('A lighthouse at dusk'):contains('3 of 4 ready')", timeout: WAIT },
        { trigger: ".o_kanban_record .o_aigen_thumb[data-status=failed]:contains('did not take the request')", timeout: WAIT },
        { trigger: ".o_kanban_record button[name=action_try_again]", run: "click" },
        { trigger: ".o_aigen_batch:contains('4 of 4 ready')", timeout: WAIT },
        { trigger: ".o_kanban_renderer:not(:has([data-status=failed]))", timeout: WAIT },
        { trigger: ".o_kanban_record:nth-child(2)", run: "click" },
        { trigger: ".o_aigen_picture.o_aigen_loaded" },
        { trigger: ".o_pager_value:contains('2')" },
    ],
});

/** A person sees what the alternatives in a prompt give, mends a brace, and asks for all of them. */
registry.category("web_tour.tours").add("aigen_image_matrix_tour", {
    url: "/odoo/ai-images",
    steps: () => [
        ...NEW,
        { trigger: "[name=prompt] textarea", run: "edit A {red|blue boat" },
        { trigger: ".o_aigen_refusal:contains('not closed')" },
        { trigger: "button[name=action_generate]:disabled" },
        { trigger: "[name=prompt] textarea", run: "edit A {red|blue} boat" },
        { trigger: ".o_aigen_matrix li:contains('A blue boat')" },
        { trigger: "button[name=action_generate]:enabled:contains('Generate 2')", run: "click" },
        { trigger: ".o_aigen_batch:contains('A {red|blue} boat'):contains('2 of 2 ready')", timeout: WAIT },
        { trigger: ".o_kanban_record:first:contains('A red boat')" },
        { trigger: ".o_aigen_batch button:contains('More of these')", run: "click" },
        { trigger: "[name=prompt] textarea:value(A {red|blue} boat)" },
        { trigger: ".o_aigen_matrix li:contains('A red boat')" },
    ],
});
