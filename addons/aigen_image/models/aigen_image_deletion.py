"""What is lost when pictures are deleted, in words for people."""

from odoo import models


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    def describe_deletion(self):
        """Return what a person is told before these pictures are deleted."""
        self.check_access("read")
        return " ".join([self._describe_loss(), *self._describe_uses()])

    def _describe_loss(self):
        files = len(self.filtered("attachment_id"))
        if len(self) == 1:
            if files:
                return self.env._("This picture is deleted for good, with its file.")
            return self.env._("This picture is deleted for good. It has no file.")
        if files == len(self):
            return self.env._("%s pictures are deleted for good, with their files.", len(self))
        return self.env._(
            "%(all)s pictures are deleted for good. Files that go with them: %(files)s.", all=len(self), files=files
        )

    def _describe_uses(self):
        """Return sentences about where these pictures are used and then missing."""
        placed = len(self.sudo().filtered("item_ids"))
        if not placed:
            return []
        if len(self) == 1:
            return [self.env._("It is on a board.")]
        return [self.env._("1 is on a board.") if placed == 1 else self.env._("%s are on boards.", placed)]
