import logging
import uuid
from functools import wraps

from odoo import SUPERUSER_ID, api, models
from odoo.modules import module
from odoo.service.model import retrying
from odoo.tools import get_lang

from ..bridge.client import WRONG_DATABASE, BridgeClient, database_header

_logger = logging.getLogger(__name__)


def apart(method):
    """Run a method in a short transaction of its own, unless the caller's transaction has written already.

    That one may hold locks that the method waits for, and what it wrote is not visible elsewhere yet.
    """

    @wraps(method)
    def run(self, *args, **how):
        if module.current_test or _has_written(self.env):  # tests have one transaction
            return method(self, *args, **how)
        return _run_apart(self, self.env.uid, method, *args, **how)

    return run


def _has_written(env):
    """Return whether this transaction has written or locked something, or is about to."""
    env.flush_all()
    env.cr.execute("SELECT txid_current_if_assigned() IS NOT NULL")
    return env.cr.fetchone()[0]


def _run_apart(records, uid, method, *args, **how):
    """Run a method of these records in a transaction of its own, with READ COMMITTED.

    A question of a form and a delivery may meet at one record: the later waits for the lock of the earlier, and then
    sees what that wrote. With Odoo's own REPEATABLE READ it would fail ("could not serialize access") and be repeated.
    Lock the record before writing to it.
    """
    with records.env.registry.cursor() as cr:
        env = api.Environment(cr, uid, records.env.context)

        def run():
            if not module.current_test:
                cr.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            return method(records.with_env(env), *args, **how)

        return retrying(run, env)


TO_BE_SET_UP = frozenset({"not_configured", "address", "tls", WRONG_DATABASE, "stranger", "http_401", "http_403"})
"""Why the bridge gave no answer, where that does not pass by itself."""


class AigenBridge(models.AbstractModel):
    """For models that call the bridge: after the commit, with no transaction open, each step in one of its own."""

    _name = "aigen.bridge"
    _description = "Calls the bridge after the commit"

    @api.model
    def _bridge(self, *, patient=False, ops=False):
        """Return the client of the bridge, as it is configured. `ops`: with the key of operations, if there is one."""
        parameters = self.env["ir.config_parameter"].sudo()
        url, key = (parameters.get_param(f"aigen_image.bridge_{name}") or "" for name in ("url", "key"))
        if ops:
            key = parameters.get_param("aigen_image.bridge_ops_key") or key
        return BridgeClient(url, key, database=self._database_header(), patient=patient)

    @api.model
    def _database_header(self):
        """Return how each call names this database to the bridge."""
        return database_header(self._database_uuid(), self.env.cr.dbname)

    @api.model
    def _database_uuid(self):
        return self.env["ir.config_parameter"].sudo().get_param("database.uuid") or ""

    def _after_commit(self, errand, **how):
        """Run a method of these records once what was written is safe; an error there undoes nothing."""

        @self.env.cr.postcommit.add
        def run():
            try:
                getattr(self, errand)(**how)
            except Exception:
                _logger.exception("%s of %s failed after the commit", errand, self)

    def _apart(self, step, *args, **how):
        """Return what a method of these records answers in a short transaction of its own."""
        return _run_apart(self, SUPERUSER_ID, getattr(type(self), step), *args, **how)

    def _lock(self):
        """Return the record, locked until the transaction ends and as others left it; empty if it is gone."""
        self.env.cr.execute(f'SELECT FROM "{self._table}" WHERE id = %s FOR NO KEY UPDATE', self.ids)
        self.invalidate_recordset()
        return self if self.env.cr.rowcount else self.browse()

    def _tell_person(self, user, message, kind="info"):
        """Show a message in the browser of that user. `kind`: info, success, warning or danger."""
        user._bus_send("simple_notification", {"type": kind, "message": message})

    @api.model
    def _show_amount(self, amount, currency=""):
        """Return an amount of the bridge as it is written in the language."""
        return f"{amount} {currency}".strip().replace(".", get_lang(self.env).decimal_point)

    def _explain_unreachable(self, reason, user):
        """Return words for that person, for why the bridge gave no answer. Managers read the details."""
        if user.has_group("aigen_image.group_manager"):
            return self._describe_unreachable(reason)
        if reason in TO_BE_SET_UP:
            return self.env._(
                "AI images are not set up correctly. Your request is kept; please tell your administrator."
            )
        return self.env._("The image service is not reachable at the moment; your request is kept.")

    def _describe_unreachable(self, reason):
        """Return words for managers, for why the bridge gave no answer."""
        words = {
            "not_configured": self.env._("The bridge's address or key is not set. An administrator can do that."),
            "address": self.env._("The address of the bridge in the settings is no web address."),
            "refused": self.env._("Nothing listens at the bridge's address. It is not running, or elsewhere."),
            "timeout": self.env._("The bridge did not answer in time."),
            "silent": self.env._("The bridge did not answer in time a moment ago."),
            "tls": self.env._("The connection to the bridge is not secure: its certificate is not accepted."),
            WRONG_DATABASE: self.env._("The bridge does not serve this database. Tell your administrator."),
            "too_large": self.env._("What answered at the bridge's address sent more than the bridge ever does."),
        }
        if reason in {"http_401", "http_403"}:
            return self.env._("The bridge does not accept this key, or the key may not do that.")
        if reason == "stranger":
            return self.env._("What answers at the bridge's address is not the bridge.")
        if (reason or "").startswith("http_"):
            return self.env._("The bridge cannot do that at the moment.")
        return words.get(reason) or self.env._("The bridge could not be reached. Is its address right?")


def new_uuid(_records=None):
    """Return a new UUID in its usual form."""
    return str(uuid.uuid4())
