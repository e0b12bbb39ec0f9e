"""Names every way in which a newer OpenAPI document breaks programs that were written for an older one.

Both directions are one question. What callers may send may only grow: the old must lie within the new. What callers
get (answers, and the event that goes to the webhook) may only shrink, or have more fields: the new must lie within the
old. So a new value of an enum in an answer is a break, too: a program that knew them all has no branch for it.
"""

import json
from collections.abc import Iterator
from functools import reduce
from typing import Any

Json = dict[str, Any]


def breaks(old: Json, new: Json) -> list[str]:
    """One sentence for each break, beginning with the operation; empty when there is none."""
    old, new = _inlined(old, old), _inlined(new, new)
    found = []
    for root, sends in (("paths", False), ("webhooks", True)):
        for path, item in old.get(root, {}).items():
            for method, was in item.items():
                now = new.get(root, {}).get(path, {}).get(method)
                reasons = ["is gone"] if now is None else _operation(was, now, sends=sends)
                found += [f"{method.upper()} {path}: {reason}" for reason in dict.fromkeys(reasons)]
    return sorted(found)


def _inlined(node: Any, document: Json) -> Any:
    """The node with every reference replaced by what it leads to."""
    if isinstance(node, list):
        return [_inlined(item, document) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(target := node.get("$ref"), str):
        found = reduce(lambda place, name: place[name], target.removeprefix("#/").split("/"), document)
        return _inlined({name: value for name, value in node.items() if name != "$ref"} | found, document)
    return {name: _inlined(value, document) for name, value in node.items()}


def _operation(old: Json, new: Json, *, sends: bool) -> Iterator[str]:
    if json.dumps(old.get("security"), sort_keys=True) != json.dumps(new.get("security"), sort_keys=True):
        yield "other keys or scopes are asked for"
    yield from _parameters(*({(p["in"], p["name"]): p for p in op.get("parameters", [])} for op in (old, new)))
    was, now = old.get("requestBody", {}), new.get("requestBody", {})
    if now.get("required") and not was.get("required"):
        yield "body: is required"
    yield from _content("body", was, now, sends=sends)
    for status, answer in old["responses"].items():
        changed = new["responses"].get(status)
        if changed is None:
            yield f"{status}: is gone"
            continue
        yield from (f"{status}: header {h} is gone" for h in answer.get("headers", {}) if h not in changed["headers"])
        yield from _content(status, answer, changed, sends=not sends)


def _parameters(old: dict[Any, Json], new: dict[Any, Json]) -> Iterator[str]:
    for key, was in old.items():
        where = f"parameter {key[1]}"
        yield from _within(where, was["schema"], new[key]["schema"]) if key in new else [f"{where} is gone"]
    needed, before = ({key for key, parameter in side.items() if parameter.get("required")} for side in (new, old))
    yield from (f"parameter {key[1]} is required" for key in needed - before)


def _content(where: str, old: Json, new: Json, *, sends: bool) -> Iterator[str]:
    """`sends`: it goes to callers, so it may only shrink."""
    for media, was in old.get("content", {}).items():
        if media not in new.get("content", {}):
            yield f"{where}: {media} is gone"
            continue
        schemas = was.get("schema", {}), new["content"][media].get("schema", {})
        yield from _within(where, *(reversed(schemas) if sends else schemas), sends=sends)


def _within(where: str, inner: Any, outer: Any, *, sends: bool = False) -> Iterator[str]:
    """Why something that fits `inner` may not fit `outer`."""
    if inner == outer:
        return
    outers = list(_variants(outer))
    for one in _variants(inner):
        tries = [list(_reasons(where, one, other, sends=sends)) for other in outers]
        yield from min(tries, key=len, default=[f"{where}: nothing fits any more"])


def _variants(schema: Any) -> Iterator[Json]:
    """The schema without allOf, anyOf and oneOf: what it allows, one after the other."""
    if not isinstance(schema, dict):
        yield from [{}] if schema else []
        return
    found = [{name: value for name, value in schema.items() if name not in {"allOf", "anyOf", "oneOf"}}]
    for options in [*([part] for part in schema.get("allOf", ())), schema.get("anyOf"), schema.get("oneOf")]:
        if options is not None:
            found = [_both(one, other) for one in found for option in options for other in _variants(option)]
    yield from (one for one in found if one.get("type") != [])


def _both(one: Json, other: Json) -> Json:
    """What fits both."""
    first, second = one.get("properties", {}), other.get("properties", {})
    shared = {name: {"allOf": [first[name], second[name]]} for name in first.keys() & second.keys()}
    types = [_types(schema) for schema in (one, other) if "type" in schema]
    return {**one, **other} | {
        "properties": {**first, **second, **shared},
        "required": [*one.get("required", ()), *other.get("required", ())],
        **({"type": sorted(set.intersection(*types))} if types else {}),
    }


def _reasons(where: str, one: Json, other: Json, *, sends: bool) -> Iterator[str]:
    yield from (f"{where}: {reason}" for reason in _value_reasons(one, other))
    for name in sorted({*other.get("required", ())} - {*one.get("required", ())}):
        yield f"{where}.{name} is {'not always there' if sends else 'required'}"
    old, new = (schema.get("properties", {}) for schema in ((other, one) if sends else (one, other)))
    yield from (f"{where}.{name} is gone" for name in old.keys() - new.keys())
    for name in old.keys() & new.keys():
        yield from _within(f"{where}.{name}", one["properties"][name], other["properties"][name], sends=sends)
    if not sends and other.get("additionalProperties") is False and one.get("additionalProperties") is not False:
        yield f"{where}: unknown fields are refused"
    if "items" in one and "items" in other:
        yield from _within(f"{where}[]", one["items"], other["items"], sends=sends)


def _value_reasons(one: Json, other: Json) -> Iterator[str]:
    if "type" in other and not ("type" in one and _types(one) <= _types(other)):
        yield f"type {_words(one)} does not fit {_words(other)}"
    values, known = _values(one), _values(other)
    if known is not None and (values is None or not values <= known):
        yield f"{sorted(values - known) if values else 'any value'} does not fit {sorted(known)}"
    for name, bound in other.items():
        sign = ("min" in name.lower()) - ("max" in name.lower())
        looser = name not in one or sign * one[name] < sign * bound if sign else one.get(name) != bound
        if looser and (sign or name in {"pattern", "format"}):
            yield f"{name} {one.get(name)} does not fit {bound}"


def _types(schema: Json) -> set[str]:
    named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {*named, "integer"} if "number" in named else set(named)


def _values(schema: Json) -> set[str] | None:
    if "const" in schema:
        return {json.dumps(schema["const"])}
    return {json.dumps(value) for value in schema["enum"]} if "enum" in schema else None


def _words(schema: Json) -> str:
    return " or ".join(sorted(_types(schema))) if "type" in schema else "any"
