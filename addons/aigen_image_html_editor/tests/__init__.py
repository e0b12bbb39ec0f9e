from . import test_copy_for_editor
from . import test_media_dialog_tour
