"""The whole chain: a real Odoo, a real N8N, the bridge, a simulated AI service, two people at browsers."""
