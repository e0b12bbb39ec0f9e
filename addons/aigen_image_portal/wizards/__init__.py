from . import aigen_image_share
