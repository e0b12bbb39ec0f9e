from . import aigen_image_link, aigen_image_linked, res_config_settings
