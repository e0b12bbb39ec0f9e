from odoo import fields, models

from ..bridge.client import OPS, REQUESTS, WRONG_DATABASE, BridgeClient, Unreachable

STATES = [("open", "Not tried"), ("good", "Good"), ("bad", "Wrong")]
NOBODY = "00000000-0000-4000-8000-000000000000"


class AigenBridgeCheck(models.TransientModel):
    """What came out of trying the connection, one line for each thing that must be right."""

    _name = "aigen.bridge.check"
    _description = "Check of the connection to the bridge"
    _inherit = ["aigen.bridge"]

    reachable = fields.Selection(STATES, default="open", readonly=True)
    ready = fields.Selection(STATES, default="open", readonly=True)
    accepted = fields.Selection(STATES, default="open", readonly=True)
    comes_back = fields.Selection(STATES, default="open", readonly=True)
    operates = fields.Selection(STATES, default="open", readonly=True)
    is_unsaved = fields.Boolean("Tried with values that are not saved", readonly=True)
    words = fields.Text(readonly=True)

    def _try_all(self, *, url, key, ops_key, database):
        """After the commit, with no transaction open: nobody else waits for the bridge."""
        bridge = BridgeClient(url, key, database=database, patient=True)
        try:
            health = bridge.get("/health/ready")
            answer = bridge.get(f"{REQUESTS}/{NOBODY}")
            letters = _status_of_letters(BridgeClient(url, ops_key or key, database=database, patient=True))
        except Unreachable as error:
            self._apart("_write_down", _findings_without_answer(error.reason), error.reason)
            return
        self._apart("_write_down", *_findings(health, answer, letters, has_ops_key=bool(ops_key)))

    def _write_down(self, findings, problem):
        keys = self.env.ref("aigen_image.user_bridge").sudo().api_key_ids
        if findings["reachable"] == "good":
            findings["comes_back"] = "good" if keys else "bad"
            if not keys and problem in {"", "no_ops_key"}:
                problem = "no_key"
        self.write(dict(findings, words=self._words(problem)))

    def _words(self, problem):
        words = {
            "": self.env._("Everything is in order."),
            "not_configured": self.env._("Enter the bridge's address and key first."),
            "stranger": self.env._("Something answers at this address, but it is not the bridge."),
            "not_ready": self.env._(
                "The bridge runs, but cannot take requests: its database is away, or it is not migrated."
            ),
            "http_401": self.env._("The bridge does not know this key."),
            "ops_401": self.env._("The bridge does not know the key of operations."),
            "ops_403": self.env._("The bridge knows the key of operations, but its client lacks the scope “ops”."),
            "http_403": self.env._("The bridge knows the key, but its client lacks the scope “requests”."),
            WRONG_DATABASE: self.env._(
                "This key is for another database. If this database is a copy, neutralize it with “odoo-bin "
                "neutralize”. If it was moved, the operator of the bridge corrects the settings and runs “aigen-bridge "
                "odoos confirm”. Otherwise enter the key that was made for this database."
            ),
            f"ops_{WRONG_DATABASE}": self.env._(
                "The key of operations is for another database. Enter one that was made for this database."
            ),
            "no_ops_key": self.env._(
                "The connection works. Nobody can re-trigger failed pictures, because no key of operations is set."
            ),
            "no_key": self.env._("The bridge's user has no API key, so that results cannot come back. Make one below."),
        }
        return words.get(problem) or self._describe_unreachable(problem)


def _status_of_letters(operations):
    """Return the HTTP status of a call with the key of operations, or `wrong_database`. Raises `Unreachable`."""
    try:
        return operations.get(f"{OPS}/dead-letters?limit=1").status
    except Unreachable as error:
        if error.reason != WRONG_DATABASE:
            raise
        return WRONG_DATABASE


def _findings_without_answer(reason):
    """Return the state of each check after a call without an answer, by field."""
    if reason == WRONG_DATABASE:
        return {"reachable": "good", "accepted": "bad"}
    return {"reachable": "open" if reason == "not_configured" else "bad"}


def _findings(health, answer, letters, *, has_ops_key):
    """What the answers mean: states by field, and the first problem ('' for none)."""
    if not (health.is_bridge and answer.is_bridge):
        return {"reachable": "bad"}, "stranger"
    findings = {"reachable": "good", "ready": "good" if health.status == 200 else "bad"}
    if answer.status in {401, 403}:
        return dict(findings, accepted="bad"), f"http_{answer.status}"
    if findings["ready"] == "bad":
        return findings, "not_ready"
    if answer.status != 404:  # nobody has this request; a bridge that says so has accepted the key
        return dict(findings, accepted="bad"), f"http_{answer.status}"
    operates, problem = _operation(letters, has_ops_key=has_ops_key)
    return dict(findings, accepted="good", operates=operates), problem


def _operation(status, *, has_ops_key):
    """What the answer to the key of operations (without one: to the usual key) means, and the problem ('' for none)."""
    if status in {401, 403, WRONG_DATABASE}:
        return ("bad", f"ops_{status}") if has_ops_key else ("open", "no_ops_key")
    return "good" if status == 200 else "open", ""
