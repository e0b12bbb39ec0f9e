from . import aigen_image_request
