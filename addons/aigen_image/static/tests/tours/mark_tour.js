import { registry } from "@web/core/registry";

const CARD = ".o_kanban_record:not(.o_kanban_ghost)";

/** Filters the gallery for pictures without a mark, opens a marked one, and finds its labelled copy. */
registry.category("web_tour.tours").add("aigen_mark_tour", {
    url: "/odoo/ai-images",
    steps: () => [
        { trigger: `${CARD}:contains(red boat)` },
        { trigger: ".o_searchview_dropdown_toggler", run: "click" },
        { trigger: ".o_filter_menu .o_menu_item:contains(/^Not marked$/)", run: "click" },
        { trigger: `.o_kanban_renderer:not(:has(${CARD}:contains(red boat)))` },
        { trigger: `${CARD}:contains(grey boat)` },
        { trigger: ".o_searchview_facet:contains(Not marked) .o_facet_remove", run: "click" },
        { trigger: `${CARD}:contains(red boat) .o_aigen_thumb img`, run: "click" },
        { trigger: ".o_aigen_lightbox .o_aigen_mark:contains(Marked as AI-made by the service: valid)" },
        { trigger: ".o_aigen_lightbox .o_aigen_open", run: "click" },
        { trigger: ".o_form_view [name=mark] .badge:contains(Marked as AI-made by the service: valid)" },
        { trigger: ".o_aigen_details summary:contains(What keeps the mark)", run: "click" },
        { trigger: ".o_aigen_details[open] li:contains(small copies)" },
        { trigger: ".o_aigen_tools a[href^='/aigen/labelled/']" },
    ],
});
