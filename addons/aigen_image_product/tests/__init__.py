from . import test_use
from . import test_approval
from . import test_prompt
from . import test_tour
