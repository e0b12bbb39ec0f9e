"""Bridge → Odoo: the catalogue of models, taken over by a button and by a cron. Never inside a transaction."""

import logging

from odoo import api, models

from ..bridge.catalogue import read_catalogue
from ..bridge.client import MODELS, Unreachable

_logger = logging.getLogger(__name__)

ETAG = "aigen_image.catalogue_etag"
"""System parameter: which catalogue was taken over last."""


class AigenImageModel(models.Model):
    _inherit = "aigen.image.model"

    def action_synchronize(self):
        """Take over the bridge's catalogue, also what was changed here since, and say what came out."""
        self.check_access("write")
        self.env["aigen.image.request"]._check_configured()
        self.with_context(aigen_asked_by=self.env.uid)._after_commit("_synchronize")

    @api.model
    def _cron_synchronize(self):
        """Take over the bridge's catalogue if it has changed."""
        self._after_commit("_synchronize", only_changes=True)

    # After the commit: no transaction is open, each `_apart` is one.

    def _synchronize(self, *, only_changes=False):
        bridge, etag = self._apart("_place_of_catalogue", only_changes=only_changes)
        try:
            answer = bridge.get(MODELS, etag=etag)
        except Unreachable as error:
            self._apart("_say_not_synchronized", error.reason)
            return
        self._apart("_settle_catalogue", answer)

    def _place_of_catalogue(self, *, only_changes):
        etag = self.env["ir.config_parameter"].get_param(ETAG) if only_changes else ""
        return self._bridge(patient=True), etag or ""

    def _settle_catalogue(self, answer):
        """Write down the catalogue. An empty one changes nothing: the bridge takes requests for any model."""
        catalogue = read_catalogue(answer.body) if answer.is_bridge and answer.status == 200 else None
        if answer.is_bridge and answer.status == 304:
            return
        if catalogue is None:
            self._say_not_synchronized(f"http_{answer.status}" if answer.is_bridge else "stranger")
            return
        if catalogue.is_empty:
            self._say_synchronized(self.env._("The bridge has no catalogue of models. Nothing was changed."), "info")
            return
        # Of two at once, the later waits and finds everything as it should be.
        self.env.cr.execute("SELECT pg_advisory_xact_lock(hashtext('aigen_image.catalogue'))")
        numbers = self._take_catalogue(catalogue)
        self.env["ir.config_parameter"].set_param(ETAG, answer.etag)
        self._say_taken(numbers, catalogue.unreadable)

    def _take_catalogue(self, catalogue):
        """Return how many models are new, changed and archived. A model that cannot be read stays as it is."""
        every = self.with_context(active_test=False, lang=None)
        known = {model.uuid: model for model in every.search([])}
        new = [self._values_of(uuid, offer) for uuid, offer in catalogue.offers.items() if uuid not in known]
        changed = [known[uuid]._take_offer(offer) for uuid, offer in catalogue.offers.items() if uuid in known]
        gone = [model for uuid, model in known.items() if uuid not in catalogue.offers.keys() | catalogue.unreadable]
        archived = every.union(*(model for model in gone if model.active))
        every.create(new)
        archived.write({"active": False, "is_withdrawn": True})
        return {"new": len(new), "changed": sum(changed), "archived": len(archived)}

    @api.model
    def _values_of(self, uuid, offer):
        """Return the fields of a new model."""
        words = {"name": offer["name"], "description": offer.get("description", False)}
        return {"uuid": uuid, "offer": offer} | words | self._defaults_of(offer)

    @api.model
    def _defaults_of(self, offer):
        """Return default steps and guidance, where the catalogue has them."""
        names = {"steps": "steps", "cfgScale": "cfg"}
        return {field: round(offer[name][2], 2) for name, field in names.items() if name in offer}

    def _take_offer(self, offer):
        """Take over what the catalogue says, but no name that was edited here. Returns whether anything changed."""
        values = {"offer": offer} | self._defaults_of(offer)
        for name in ("name", "description"):
            is_untouched = (self[name] or None) == (self.offer or {}).get(name)
            if name in offer and (is_untouched or not self[name]):
                values[name] = offer[name]
        if self.is_withdrawn:
            values |= {"active": True, "is_withdrawn": False}
        changes = {name: value for name, value in values.items() if self[name] != value}
        if changes:
            self.write(changes)
        if "offer" in changes:
            new = [("model_id", "=", self.id), ("status", "=", "draft")]
            self.env["aigen.image.request"].with_context(active_test=False).search(new)._compute_resolution()
        return bool(changes)

    def _say_taken(self, numbers, unreadable):
        if unreadable:
            _logger.warning(
                "These models of the bridge's catalogue cannot be read, and stay as they are: %s", unreadable
            )
        words = self.env._(
            "The models are as in the bridge: %(new)s new, %(changed)s changed, %(archived)s archived.", **numbers
        )
        if unreadable:
            words += " " + self.env._("%s could not be read.", len(unreadable))
        self._say_synchronized(words, "warning" if unreadable else "success")

    def _say_not_synchronized(self, reason):
        """Say why nothing was taken over. A bridge without a catalogue is an older one."""
        if reason == "http_404":
            words = self.env._("This bridge is too old for a catalogue of models.")
        elif reason == "stranger":
            words = self.env._("What answers at the bridge's address is not the bridge.")
        else:
            words = self._describe_unreachable(reason)
        _logger.debug("The catalogue was not taken over: %s", reason)
        self._say_synchronized(words, "warning")

    def _say_synchronized(self, words, kind):
        """To whoever pressed the button; nobody is told by the cron."""
        if user := self.env["res.users"].browse(self.env.context.get("aigen_asked_by")):
            self._tell_person(user, words, kind)
