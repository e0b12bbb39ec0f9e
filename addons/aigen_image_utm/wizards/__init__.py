from . import aigen_budget_change
from . import aigen_money_left
