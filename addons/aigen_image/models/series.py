"""The differences between Odoo 18 and 19. All other code in the addons runs on both."""

from odoo import models


class Odoo18Constraint:
    """A constraint that is declared as in Odoo 19, and becomes one of the `_sql_constraints` of Odoo 18."""

    def __init__(self, definition, message):
        self.definition = definition
        self.message = message

    def __set_name__(self, model, name):
        constraint = (name.removeprefix("_"), self.definition, self.message)
        model._sql_constraints = [*model.__dict__.get("_sql_constraints", ()), constraint]


Constraint = getattr(models, "Constraint", Odoo18Constraint)
"""Odoo 19 ignores `_sql_constraints`, and Odoo 18 has no `models.Constraint`."""


class ResGroups(models.Model):
    _inherit = "res.groups"

    def _aigen_add_users(self, user_ids):
        """Make these users members of the group."""
        self["user_ids" if "user_ids" in self._fields else "users"] |= self.env["res.users"].browse(user_ids)

    def _aigen_members(self):
        """Return the users of the group, with those of groups that imply it."""
        return self["all_user_ids" if "all_user_ids" in self._fields else "users"]

    def _aigen_set_category(self, category_id):
        """Show the groups as one choice under this category in the form of a user. Odoo 19 needs a privilege for it."""
        if "category_id" in self._fields:
            self.category_id = category_id
            return
        category = self.env["ir.module.category"].browse(category_id)
        values = {"name": category.name, "category_id": category_id}
        record = {"xml_id": "aigen_image.privilege_aigen", "values": values}
        self.privilege_id = self.env["res.groups.privilege"]._load_records([record])


class ResUsers(models.Model):
    _inherit = "res.users"

    def _aigen_groups(self):
        """Return the user's groups, with those that they imply."""
        return self.all_group_ids if "all_group_ids" in self._fields else self.groups_id

    def _aigen_people_domain(self):
        """Return the domain of those who use AI images."""
        groups = "all_group_ids" if "all_group_ids" in self._fields else "groups_id"
        return [("share", "=", False), (groups, "in", self.env.ref("aigen_image.group_user").ids)]
