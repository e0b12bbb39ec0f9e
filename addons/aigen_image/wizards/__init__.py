from . import aigen_bridge_check
from . import aigen_budget_change
from . import aigen_image_refuse
from . import aigen_money_left
from . import aigen_image_board_add
from . import aigen_image_tagging
