import { formatDateTime } from "@web/core/l10n/dates";
import { localization } from "@web/core/l10n/localization";
import { _t } from "@web/core/l10n/translation";

const { DateTime } = luxon;

/** The way of a request, step by step. */
const STEPS = ["waiting", "queued", "dispatched", "received"];
const LABELS = {
    waiting: _t("Sending"),
    queued: _t("In the queue"),
    again: _t("In the queue again"),
    dispatched: _t("Being made"),
    received: _t("On its way"),
    finishing: _t("Almost there"),
};
/** The most that is shown without the AI service having said so. */
const ESTIMATE_MAX = 95;
/** A picture is late after this many times the usual time, and at least so many seconds beyond it. */
const LATE_FACTOR = 1.5;
const LATE_SECONDS = 5;

/** Fields of a request on which the words depend, for widgets. */
export const WORD_FIELDS = [
    { name: "status", type: "selection" },
    { name: "explanation", type: "char" },
    { name: "version", type: "integer" },
    { name: "held_since", type: "datetime" },
    { name: "progress", type: "json" },
    { name: "resent", type: "integer" },
    { name: "elapsed", type: "float" },
    { name: "expected", type: "float" },
];

/** Somebody still has to do something for the picture. */
export function isOpen({ status }) {
    return STEPS.includes(status);
}

/** The bridge keeps it until the image service is back. The status stays what it was. */
export function isHeld(request) {
    return isOpen(request) && Boolean(request.held_since);
}

/**
 * What a person reads of an open request after so many seconds: a `headline`, a `detail` below it, which is `usual` while
 * there is nothing to tell, and `percent`, which is `measured` if the AI service says it. `spoken` is the headline without
 * its numbers: nobody wants to hear each of them.
 */
export function describe(request, seconds) {
    const spoken = headline(request, false);
    const detail = notice(request, seconds);
    return {
        headline: headline(request, true),
        spoken,
        detail: detail || usual(request),
        usual: !detail,
        measured: measured(request) !== undefined,
        percent: measured(request) ?? estimated(request, seconds),
    };
}

/** The steps of an open request: those that are done, the one that it is at. */
export function steps(request) {
    const at = STEPS.indexOf(stepOf(request));
    return STEPS.map((status, index) => ({
        status,
        label: index === at && isAgain(request) ? LABELS.again : LABELS[status],
        done: index < at,
        now: index === at,
    }));
}

/** N8N has it while it still waits at the AI service: for a person that is the queue. */
function stepOf({ status, progress }) {
    return status === "dispatched" && progress?.stage === "queued" ? "queued" : status;
}

/** It entered the bridge's queue before: version 1 is the first time. */
function isAgain({ status, version }) {
    return status === "queued" && version > 1;
}

function headline(request, withNumbers) {
    const { status, progress } = request;
    if (isHeld(request)) {
        return _t("The image service is away since %s.", timeOf(request.held_since));
    }
    if (status === "waiting" && request.explanation) {
        return _t("Waiting to be sent");
    }
    if (status === "dispatched" && progress?.stage === "finishing") {
        return `${LABELS.finishing}`;
    }
    if (withNumbers && status === "dispatched" && progress?.stage === "queued" && "queuePosition" in progress) {
        const before = progress.queuePosition;
        return before ? _t("Number %s in the queue", before + 1) : _t("Next in the queue");
    }
    const label = isAgain(request) ? LABELS.again : LABELS[stepOf(request)];
    return withNumbers && measured(request) !== undefined ? `${label} · ${measured(request)}\u00a0%` : `${label}`;
}

/** What is unusual about the request, or nothing. */
function notice(request, seconds) {
    if (isHeld(request)) {
        return _t("Your picture will come.");
    }
    if (request.status === "waiting") {
        return request.explanation && _t("%s It is sent by itself.", request.explanation);
    }
    if (seconds > Math.max(LATE_FACTOR * request.expected, request.expected + LATE_SECONDS)) {
        return _t("This takes longer than usual");
    }
    return request.resent > 0 && _t("The image service was restarted, going on");
}

function usual({ expected }) {
    return _t("usually %s s · you can go on working", Math.max(1, Math.round(expected || 0)));
}

function timeOf(since) {
    const time = localization.timeFormat.replace(/[^\w\s]?ss/, ""); // Odoo 19 knows no format without seconds
    const today = since.hasSame(DateTime.now(), "day");
    return formatDateTime(since, { format: today ? time : `${localization.dateFormat} ${time}` });
}

/** The percent that the AI service says, if it does. */
function measured({ status, progress }) {
    return status === "dispatched" && progress?.stage === "generating" ? progress.percent : undefined;
}

/** Approaches the end without pretending to reach it: half of the usual time is about half of the way. */
function estimated({ status, progress, expected }, seconds) {
    const stage = status === "dispatched" && progress?.stage;
    if (status === "waiting" || stage === "queued") {
        return 0; // nobody has begun
    }
    if (stage === "finishing") {
        return ESTIMATE_MAX;
    }
    const share = seconds / Math.max(expected || 0, 1);
    return Math.round(Math.min(ESTIMATE_MAX, 100 * (1 - Math.exp(-1.3 * share))));
}
