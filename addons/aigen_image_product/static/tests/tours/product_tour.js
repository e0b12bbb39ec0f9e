import { registry } from "@web/core/registry";

/** A picture is made for a product, and asked to be used there. */
registry.category("web_tour.tours").add("aigen_image_product_ask", {
    steps: () => [
        { trigger: "button[name=action_make_picture]", run: "click" },
        { trigger: "[name=prompt] textarea:value(/A product photo of Desk lamp, on a/)" },
        { trigger: ".o_aigen_target:contains('For Desk lamp')" },
        { trigger: "button[name=action_generate]", run: "click" },
        { trigger: ".o_aigen_picture.o_aigen_loaded", timeout: 30000 },
        { trigger: "button[name=action_use]", run: "click" },
        { trigger: ".o_notification:contains('as soon as it is approved')" },
        { trigger: ".o_aigen_target:contains('Will be used for Desk lamp')" },
    ],
});

/** It is approved. */
registry.category("web_tour.tours").add("aigen_image_product_approve", {
    steps: () => [
        { trigger: ".o_kanban_record .o_aigen_caption:contains('Desk lamp')", run: "click" },
        { trigger: ".o_aigen_approval:contains('asked by')" },
        { trigger: "button[name=action_approve]", run: "click" },
        { trigger: ".o_form_view:not(:has(.o_aigen_approval))" },
    ],
});

/** It is found from the product, taken back, and used again. */
registry.category("web_tour.tours").add("aigen_image_product_undo", {
    steps: () => [
        { trigger: "button[name=action_choose_picture]:contains('1')", run: "click" },
        { trigger: ".o_facet_value:contains('Made for this record')" },
        { trigger: ".o_aigen_target_banner:contains('Choose a picture for Desk lamp')" },
        { trigger: ".o_kanban_record .o_aigen_caption:contains('Desk lamp')", run: "click" },
        { trigger: ".o_aigen_target:contains('In use for Desk lamp')" },
        { trigger: "a[name=uses]", run: "click" },
        { trigger: "[name=use_ids] .o_data_row:contains('Desk lamp (Product)'):contains('Used')" },
        { trigger: "button[name=action_undo_use]", run: "click" },
        { trigger: ".o_aigen_target:contains('For Desk lamp') button[name=action_use]" },
        { trigger: ".o_back_button, .breadcrumb-item:last-of-type a", run: "click" },
        { trigger: ".o_kanban_record:contains('Desk lamp')", run: "hover" },
        { trigger: ".o_kanban_record:contains('Desk lamp') .o_aigen_action[data-action=use]", run: "click" },
        { trigger: ".o_form_view .o_field_widget[name=image_1920]" },
        { trigger: ".o_notification:contains('has this picture now') button:contains('Undo')" },
        { trigger: "button[name=action_choose_picture]:contains('1')", run: "click" },
        { trigger: ".o_kanban_record .o_aigen_caption:contains('Desk lamp')", run: "click" },
        { trigger: ".o_aigen_target:contains('In use for Desk lamp')" },
        { trigger: "button[name=action_open_target]", run: "click" },
        { trigger: "[name=image_1920] img[data-src*='/web/image'], [name=image_1920] img[src*='/web/image']" },
    ],
});
