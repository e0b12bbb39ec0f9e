"""Run by `odoo shell`: makes the bridge's user in Odoo, unless it is there, and prints a new API key for it.

The user has no password, so the key is the only way in, and a call costs Odoo no password check. The key does not
expire by itself: whoever rotates it removes the old one on the user's page.
"""
# ruff: noqa: F821, INP001, SLF001, T201 - `env` is the shell's, and only a private method makes keys

users = env["res.users"].with_context(no_reset_password=True)
bot = users.search([("login", "=", "aigen-bridge")]) or users.create(
    {"name": "AI image bridge", "login": "aigen-bridge"}
)
key = env["res.users.apikeys"].with_user(bot).sudo()._generate("rpc", "aigen-bridge", None)
env.cr.commit()
print(key, end="")
