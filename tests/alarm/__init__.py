"""Faults on purpose, and whoever has to hear of them does: `make e2e-observe`.

Real `serve` and `worker` processes on a real PostgreSQL, simulated N8N and Odoo, real Prometheus and Alertmanager with
the files of `deploy/`, and a real SMTP server at the end. Only time is shorter (`rendering.py`).
"""
