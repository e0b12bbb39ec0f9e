from . import test_link, test_shared_pages, test_tour
