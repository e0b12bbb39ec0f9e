import { beforeEach, describe, expect, test } from "@odoo/hoot";
import { mockDate, mockTimeZone } from "@odoo/hoot-mock";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { makeMockEnv } from "@web/../tests/web_test_helpers";
import { describe as words, steps } from "@aigen_image/words";

describe.current.tags("headless");
defineMailModels();

const { DateTime } = luxon;

beforeEach(makeMockEnv); // the words are translated

/** These of the words are as expected. */
function expectWords(found, expected) {
    const names = Object.keys(expected);
    expect(Object.fromEntries(names.map((name) => [name, found[name]]))).toEqual(expected);
}

const making = (progress, more = {}) => ({ status: "dispatched", version: 2, expected: 15, progress, ...more });

test("the queue of the AI service is counted for people: three before it make it number four", () => {
    const at = (queuePosition) => words(making({ stage: "queued", queuePosition }), 1).headline;
    expect(at(3)).toBe("Number 4 in the queue");
    expect(at(1)).toBe("Number 2 in the queue");
    expect(at(0)).toBe("Next in the queue");
    expect(words(making({ stage: "queued" }), 1).headline).toBe("In the queue");
});

test("the bar shows the percent that the AI service says, else an estimate", () => {
    const told = words(making({ stage: "generating", percent: 42 }), 1);
    expectWords(told, { headline: "Being made · 42\u00a0%", percent: 42, measured: true });
    expectWords(words(making({ stage: "generating", percent: 0 }), 1), { percent: 0, measured: true });
    const guessed = words(making({ stage: "generating" }), 7.5);
    expectWords(guessed, { headline: "Being made", percent: 48, measured: false });
    expect(words(making(false), 7.5).percent).toBe(48);
    expect(words(making(false), 9999).percent).toBe(95);
    expect(words(making({ stage: "queued" }), 7.5).percent).toBe(0);
    expectWords(words(making({ stage: "finishing" }), 1), { headline: "Almost there", percent: 95 });
});

test("what is heard has no numbers", () => {
    expect(words(making({ stage: "queued", queuePosition: 3 }), 1).spoken).toBe("In the queue");
    expect(words(making({ stage: "generating", percent: 42 }), 1).spoken).toBe("Being made");
});

test("at most one line stands below: late, sent again, or as usual", () => {
    const detail = (more, seconds) => words(making(false, more), seconds).detail;
    expect(detail({}, 15)).toBe("usually 15 s · you can go on working");
    expect(detail({}, 22)).toBe("usually 15 s · you can go on working");
    expect(detail({}, 23)).toBe("This takes longer than usual");
    expect(detail({ expected: 1 }, 5)).toBe("usually 1 s · you can go on working");
    expect(detail({ resent: 1 }, 15)).toBe("The image service was restarted, going on");
    expect(detail({ resent: 1 }, 23)).toBe("This takes longer than usual");
});

test("while the image service is away, progress and lateness are no matter", () => {
    mockTimeZone(+1);
    mockDate("2026-01-31 14:20:00");
    const held_since = DateTime.fromISO("2026-01-31T13:05:00Z").setZone("local");
    const held = words(making({ stage: "generating", percent: 42 }, { held_since, resent: 1 }), 999);
    expect(held.headline).toBe("The image service is away since 14:05.");
    expect(held.detail).toBe("Your picture will come.");
});

test("progress counts only while the picture is being made", () => {
    const progress = { stage: "generating", percent: 42 };
    expectWords(words({ status: "queued", version: 3, progress, expected: 15 }, 0), {
        headline: "In the queue again",
        measured: false,
    });
    expect(words({ status: "received", version: 3, progress, expected: 15 }, 0).headline).toBe("On its way");
});

test("who waits at the AI service is in the queue", () => {
    const now = (request) => steps(request).find((step) => step.now).label.toString();
    expect(now(making({ stage: "queued", queuePosition: 3 }))).toBe("In the queue");
    expect(now(making({ stage: "generating" }))).toBe("Being made");
    expect(now({ status: "queued", version: 3 })).toBe("In the queue again");
});
