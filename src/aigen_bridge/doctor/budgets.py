"""Checks the budgets: each can count what it is meant for, and no addon's queue stops behind a refusal."""

from aigen_bridge.doctor.finding import Finding, ok, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.budget import LEAST_ADDON, BudgetState, is_too_old, notice, notice_due
from aigen_bridge.domain.money import Rates, rate
from aigen_bridge.settings import Settings

FULL = 100
"""The notice from which on a hard budget accepts nothing more, or next to nothing."""


async def look_at_budgets(subject: Subject) -> list[Finding]:
    """No budget is used up, and each fits the settings, the catalogue and the addons."""
    states = await subject.opened.budgets()
    if not states:
        return [ok("budgets", "There are none.")]
    findings = [_used_up(state) for state in states if _due(state) >= FULL]
    if subject.settings:
        findings += await _old_addons(subject, subject.settings)
        findings += await _without_rate(subject, states, subject.settings.money.rates)
        findings += [each for state in states for each in _unlike_settings(state, subject.settings)]
    names = ", ".join(state.budget.name for state in states)
    return findings or [ok("budgets", f"None is used up: {names}.")]


def _due(state: BudgetState) -> int:
    return notice_due(state.budget, state.usage.total)


def _used_up(state: BudgetState) -> Finding:
    advice = f"Put {state.budget.name} with a higher limit ('aigen-bridge budgets put'), or wait for the next period."
    return warning("budgets", notice(state.budget, state.usage, _due(state)), advice)


async def _old_addons(subject: Subject, settings: Settings) -> list[Finding]:
    addons = await subject.opened.addons()
    old = [odoo for odoo in settings.all_odoos if odoo in addons and is_too_old(addons[odoo])]
    if not old:
        return []
    found = (
        f"The addon of {', '.join(old)} is older than {LEAST_ADDON}, or names no version: when a budget refuses a "
        "request, everything that is asked for afterwards waits behind it."
    )
    return [wrong("budgets", found, "Upgrade the addon.")]


async def _without_rate(subject: Subject, states: list[BudgetState], rates: Rates) -> list[Finding]:
    models = (await subject.opened.catalogue()).by_name()
    priced = [model for model in models if model.is_active and model.price and model.price.amount]
    pairs = sorted(
        {
            f"{model.price.currency}/{state.budget.currency}"
            for state in states
            for model in priced
            if model.price and state.budget.purpose.model_id in {None, model.model_id}
            and rate(rates, model.price.currency, state.budget.currency) is None
        }
    )  # fmt: skip
    if not pairs:
        return []
    found = "Hard budgets refuse requests, and soft ones do not count them, because AIGEN_MONEY__RATES has no rate: "
    return [wrong("budgets", f"{found}{', '.join(pairs)}.", "Add the rates, and restart the API and the workers.")]


def _unlike_settings(state: BudgetState, settings: Settings) -> list[Finding]:
    budget, findings = state.budget, []
    again = f"Put {budget.name} again, or remove it."
    if budget.purpose.odoo not in {None, *settings.all_odoos}:
        found = f"{budget.name} counts requests of the Odoo {budget.purpose.odoo!r}, which is not in AIGEN_ODOOS."
        findings.append(warning("budgets", found, again))
    if budget.time_zone != settings.money.time_zone:
        wanted = settings.money.time_zone
        found = f"{budget.name} has the time zone {budget.time_zone}, and AIGEN_MONEY__TIME_ZONE is {wanted}."
        findings.append(warning("budgets", found, "Put it again; it is then counted anew."))
    return findings
