from . import aigen_bridge_check
