"""Carries AI image requests from Odoo to N8N and the results back."""

__version__ = "0.1.0"
