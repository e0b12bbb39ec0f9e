import { registry } from "@web/core/registry";

/** A person's whole way: ask, watch, see, read the log, vary, find it again in the gallery and in the list. */
registry.category("web_tour.tours").add("aigen_image_tour", {
    url: "/odoo",
    steps: () => [
        { trigger: ".o_navbar_apps_menu button:enabled", run: "click" },
        { trigger: ".o_app[data-menu-xmlid='aigen_image.menu_root']", run: "click" },
        { trigger: ".o_nocontent_help:contains('Ask for your first picture')" },
        { trigger: ".o-kanban-button-new", run: "click" },
        { trigger: ".o_aigen_form:not(:has(.o-mail-Chatter)) .o_aigen_stage:contains('Your picture appears here')" },
        { trigger: "[name=prompt] textarea", run: "edit A lighthouse at dusk" },
        // Odoo 18 has a select element, 19 a menu of its own.
        { isActive: ["[name=shape] select"], trigger: "[name=shape] select", run: "select \"16:9\"" },
        { isActive: ["[name=shape] input"], trigger: "[name=shape] input", run: "click" },
        { isActive: ["[name=shape] input"], trigger: ".o_select_menu_item:contains('Wide')", run: "click" },
        { trigger: "[name=resolution]:contains('1344x768')" },
        { trigger: ".o_aigen_details summary", run: "click" },
        { trigger: "[name=steps] input:value(28)" },
        { trigger: "button[name=action_generate]", run: "click" },
        { trigger: ".o_aigen_now:contains('In the queue')" },
        { trigger: ".o_aigen_clock" },
        { trigger: ".o_aigen_picture.o_aigen_loaded" },
        { trigger: "a[name=log]", run: "click" },
        { trigger: ".o_aigen_log li:contains('Handing it to N8N'):contains('done')" },
        { trigger: "button[name=action_change_words]", run: "click" },
        { trigger: ".o_aigen_stage[data-status=draft]" },
        { trigger: "[name=prompt] textarea:value(A lighthouse at dusk)" },
        { trigger: "[data-menu-xmlid='aigen_image.menu_pictures']", run: "click" },
        { trigger: ".o_aigen_thumb[data-status=completed] img" },
        { trigger: "button.o_switch_view.o_list", run: "click" },
        { trigger: ".o_data_row:contains('Ready')" },
    ],
});
