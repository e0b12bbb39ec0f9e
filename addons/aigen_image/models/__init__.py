from . import aigen_bridge
from . import res_users
from . import aigen_image_model
from . import aigen_image_request
from . import aigen_image_request_ask
from . import aigen_image_request_result
from . import aigen_image_request_again
from . import res_config_settings
