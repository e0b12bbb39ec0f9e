"""Simulators of Odoo, N8N and the AI service: real protocols, real sockets, faults on command."""
