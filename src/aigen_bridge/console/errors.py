"""Errors of the console. `route` turns them, and those of the bridge, into pages."""

from aigen_bridge.domain.errors import BridgeError


class SignInNeededError(BridgeError):
    """Nobody is signed in, or the session has ended."""

    def __init__(self) -> None:
        super().__init__("sign_in_needed", "You are not signed in, or your session has ended.")


class SignInRefusedError(BridgeError):
    """The key opens nothing here."""


class CrossSiteError(BridgeError):
    """A form was not sent by a page of this console, or by one of an earlier session."""

    def __init__(self) -> None:
        super().__init__(
            "cross_site",
            "The form was not sent from a page of this console, or your session has changed. Nothing was changed.",
        )


class ViewerError(BridgeError):
    """A viewer tried to change something."""

    def __init__(self) -> None:
        super().__init__("viewer", "You are signed in as a viewer, who changes nothing.")


class UnknownPageError(BridgeError):
    """The console has no such page."""

    def __init__(self, path: str) -> None:
        super().__init__("page_unknown", f"The console has no page {path[:100]!r}.")


class UnknownActionError(BridgeError):
    """The console has no such action. A page of another version may have it."""

    def __init__(self, path: str) -> None:
        super().__init__(
            "action_unknown",
            f"The console has no action {path[:100]!r}. The page may be of another version: load it again. Nothing was "
            "changed.",
        )


class UnexpectedError(BridgeError):
    """A bug of the console or of what it called."""

    def __init__(self) -> None:
        super().__init__("internal", "An unexpected error occurred in the bridge.")


class WrongIdError(BridgeError):
    """The address has something else than the id of a request."""

    def __init__(self, text: str) -> None:
        super().__init__("id_wrong", f"{text[:100]!r} is not the id of a request. An id has 32 hexadecimal digits.")


class HiddenContentError(BridgeError):
    """The visitor is not shown prompts and images."""

    def __init__(self) -> None:
        super().__init__("content_hidden", "Viewers are not shown prompts and images here.")


class WrongFormError(BridgeError):
    """A field of a form is missing or wrong. Nothing was changed."""

    def __init__(self, detail: str) -> None:
        super().__init__("form_wrong", detail)
