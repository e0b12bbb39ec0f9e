"""The bridge as seen from Odoo: its address, its HTTP interface, the results it brings. Knows nothing of Odoo's ORM."""
