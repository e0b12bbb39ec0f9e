"""Words the errors of pydantic for people: what follows the name of a field, such as `must be an object`.

The errors of messages, of parameters and of settings all read like this.
"""

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic_core.core_schema import ErrorType

_TIME = "must be a time with its zone, such as 2026-01-31T12:00:00Z"
_DURATION = "must be a duration, such as 30s, 10m or 1.5h"
_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    **dict.fromkeys(("model_type", "model_attributes_type", "dataclass_type", "dict_type"), "must be an object"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), "must be a list"),
    **dict.fromkeys(("string_type", "string_unicode"), "must be a string"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    "int_parsing_size": "is too large",
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("decimal_type", "decimal_parsing"), "must be a decimal number"),
    **dict.fromkeys(("uuid_type", "uuid_parsing"), "must be a UUID"),
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid"), _TIME
    ),
    "timezone_aware": _TIME,
    **dict.fromkeys(("time_delta_type", "time_delta_parsing"), _DURATION),
    "ip_any_network": "must be a network, such as 10.0.0.0/8, without host bits",
    "path_not_file": "must be the path of an existing file",
}
_SUBJECT = re.compile(r".*?\bshould ", re.DOTALL)
"""What pydantic puts before the predicate: `Input should`, `UUID input should`, `String should`."""
_TIMEDELTA = re.compile(r"datetime\.timedelta\((?:(days|seconds)=)?(\d+)\)")
_PYDANTICS = frozenset(get_args(ErrorType))


def predicate(error: Mapping[str, Any]) -> str:
    """Returns what is wrong, for one of the `errors()` of pydantic. Our own errors say it in this form already."""
    kind, message = error["type"], str(error["msg"])
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in {"value_error", "assertion_error"}:
        return message.partition(", ")[2]
    if kind not in _PYDANTICS:
        return message
    if _SUBJECT.match(message):
        said = _SUBJECT.sub("must ", message, count=1).replace(" after validation", "")
        return _TIMEDELTA.sub(lambda limit: f"{limit[2]} {limit[1] or 'seconds'}", said)
    return f"is not valid ({message})"
