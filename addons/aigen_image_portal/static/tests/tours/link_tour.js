import { registry } from "@web/core/registry";

/** A person shares a picture by a link, renews the link, and takes it back. */
registry.category("web_tour.tours").add("aigen_image_link_tour", {
    steps: () => [
        { trigger: "button[name=action_share_link]", run: "click" },
        { trigger: ".modal [name=title] input", run: "edit For the client" },
        { trigger: ".modal button[name=action_share]:contains('Make link')", run: "click" },
        { trigger: ".modal [name=url]:contains('/aigen/shared/')" },
        { trigger: ".modal footer .o_clipboard_button:contains('Copy')" },
        { trigger: ".modal button[name=action_share]:contains('New link')", run: "click" },
        { trigger: ".modal [name=url]:contains('/aigen/shared/')" },
        { trigger: ".modal button:contains('Close')", run: "click" },
        { trigger: "body:not(:has(.modal))" },
        { trigger: "button[name=action_share_link]", run: "click" },
        { trigger: ".modal [name=title] input:value(For the client)" },
        { trigger: ".modal button[name=action_stop]", run: "click" },
        { trigger: "body:not(:has(.modal))" },
        { trigger: ".o-mail-Message:contains('No longer shared by link')" },
    ],
});
