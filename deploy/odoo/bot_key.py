"""Run by `odoo shell`: prints a new API key for the bridge's user, which the addon brings.

The user has no password, so the key is the only way in, and a call costs Odoo no password check. It may do nothing but
report results. The key does not expire by itself: whoever rotates it removes the old one on the user's page.
"""
# ruff: noqa: F821, INP001, SLF001, T201 - `env` is the shell's, and only a private method makes keys

bot = env.ref("aigen_image.user_bridge")
key = env["res.users.apikeys"].with_user(bot).sudo()._generate("rpc", "aigen-bridge", None)
env.cr.commit()
print(key, end="")
