import { localization } from "@web/core/l10n/localization";
import { registry } from "@web/core/registry";
import { FloatField, floatField } from "@web/views/fields/float/float_field";

/** Digits after the point of an amount: as many as the bridge has, and at least two are shown. */
const PLACES = 9;
const SHOWN = 2;

/** An amount as the bridge writes it, with the decimal point of the language. Sums of several currencies are empty. */
export function formatAmount(value) {
    if (value === false || value === null || value === undefined) {
        return "—";
    }
    const [whole, places] = value.toFixed(PLACES).split(".");
    return whole + localization.decimalPoint + places.replace(/0+$/, "").padEnd(SHOWN, "0");
}

/** A decimal text of the bridge, with the decimal point of the language. */
export function showAmount(text) {
    return text.replace(".", localization.decimalPoint);
}

export class AmountField extends FloatField {
    get formattedValue() {
        return formatAmount(this.value);
    }
}

registry.category("formatters").add("aigen_amount", formatAmount);
registry.category("fields").add("aigen_amount", { ...floatField, component: AmountField });
