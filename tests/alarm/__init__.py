"""Injects faults and checks that their alerts reach the right people: `make e2e-observe`.

Real `serve` and `worker` processes on a real PostgreSQL, simulated N8N and Odoo, real Prometheus and Alertmanager with
the files of `deploy/`, and a real SMTP server at the end. Only the times are shorter (`rendering.py`).
"""
