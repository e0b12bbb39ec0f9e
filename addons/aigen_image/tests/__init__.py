from . import test_series
from . import test_database
from . import test_access
from . import test_ask
from . import test_result
from . import test_settings
from . import test_http
from . import test_tour
