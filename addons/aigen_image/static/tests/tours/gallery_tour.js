import { registry } from "@web/core/registry";

const CARD = ".o_kanban_record:not(.o_kanban_ghost)";
const select = (name) => ({ trigger: `${CARD}:contains(${name}) .o_aigen_select input`, run: "click" });
const inBar = (key) => ({ trigger: `.o_aigen_selection [data-action=${key}]`, run: "click" });

/** A person compares two pictures, keeps one, tags both, and takes them along as one file. */
registry.category("web_tour.tours").add("aigen_gallery_tour", {
    url: "/odoo/ai-images",
    steps: () => [
        { trigger: `${CARD}:contains(Red boat) img` },
        select("Red boat"),
        select("Blue boat"),
        { trigger: ".o_aigen_count:contains(2 selected)" },
        inBar("compare"),
        { trigger: ".o_aigen_compare_left" },
        { trigger: ".o_aigen_compare_stage", run: moveSlider },
        { trigger: ".o_aigen_compare_stage[style*='20%']" },
        { trigger: ".o_aigen_compare_names button:first", run: "click" },
        { trigger: ".o_aigen_compare_names button[aria-pressed=true]" },
        { trigger: ".modal .btn-close", run: "click" },
        inBar("tag"),
        { trigger: ".modal [name=tag_ids] input", run: "edit Harbour" },
        { trigger: ".o-autocomplete--dropdown-item:contains(Create)", run: "click" },
        { trigger: ".modal .o_tag:contains(Harbour)" },
        { trigger: ".modal button[name=action_add]", run: "click" },
        { trigger: `${CARD}:contains(Red boat):contains(Harbour)` },
        select("Red boat"),
        select("Blue boat"),
        { trigger: ".o_aigen_count:contains(2 selected)" },
        inBar("download"),
        inBar("archive"),
        { trigger: `.o_kanban_view:not(:has(${CARD}:contains(Red boat)))` },
    ],
});

/** The slider itself is not visible: what is seen of it is the line. */
function moveSlider() {
    const slider = this.anchor.querySelector("input");
    slider.value = 20;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
}
