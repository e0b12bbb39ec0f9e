from odoo import api, models


class AigenNamed(models.AbstractModel):
    """For what has words of people in its name: only whoever may read the record reads its name.

    Odoo reads the names of references as superuser. Any reference that a person may write, or any default of one, would
    show the name of any record.
    """

    _name = "aigen.named"
    _description = "Named for those who may read it"

    @api.depends_context("uid", "allowed_company_ids")
    def _compute_display_name(self):
        """Others read what it is. As oneself, Odoo checks the access to the name."""
        result = super()._compute_display_name()
        records = self._origin.sudo(False)
        hidden = records - records._filtered_access("read") if self.env.su else records.browse()
        for record in self:
            if record._origin in hidden:
                record.display_name = self.env["ir.model"]._get(self._name).name
        return result
