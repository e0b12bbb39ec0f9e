from . import utm_campaign
from . import aigen_budget
from . import aigen_image_request
