"""Any interleaving ends as the specification says: the code beside a small model of it, step by step.

`expected` is the model, written from the specification and the design; it knows nothing of the code. `ground` is the
real store on a real PostgreSQL whose clock can be moved, `world` the N8N, the Odoo and the URLs around it. `rules_*`
are what may happen, in any order; after each of them `balance` compares the store with the model.
"""
