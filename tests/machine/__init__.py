"""Stateful tests: after every step of a random interleaving, the code must agree with a small model.

`expected` is the model, written from the specification and the design, independent of the code. `ground` is the real
store on a real PostgreSQL whose clock can be moved. `world` simulates N8N, Odoo and the image URLs. `rules_*` are the
possible events, in any order. After each of them, `balance` compares the store with the model.
"""
