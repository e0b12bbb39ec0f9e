#!/bin/sh
# Makes Odoo's tables and installs the addon, once. A new Odoo database has the user admin with the password admin;
# the server starts only after that was changed.
set -eu

PGPASSWORD=$(cat /run/secrets/postgres_odoo_password)
export PGPASSWORD

ask() { psql --no-psqlrc --no-align --tuples-only --command="$1"; }

ready=$(ask "SELECT to_regclass('ir_config_parameter') IS NOT NULL")
if [ "$ready" = t ]; then
    ready=$(ask "SELECT count(*) > 0 FROM ir_config_parameter WHERE key = 'deploy.initialised'")
fi
if [ "$ready" = t ]; then
    echo "Odoo's database is ready."
    exit
fi

odoo --init=aigen_image --without-demo=all --stop-after-init --no-http
# Both in one transaction: either the password is changed and this is never done again, or neither.
odoo shell --no-http <<'PYTHON'
with open("/run/secrets/odoo_admin_password") as file:
    env.ref("base.user_admin").password = file.read().strip()
env["ir.config_parameter"].set_param("deploy.initialised", "yes")
env.cr.commit()
PYTHON
