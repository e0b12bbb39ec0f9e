"""The wire formats, versioned. Names on the wire are camelCase, as the specification writes them."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class WireModel(BaseModel):
    """What all messages have in common: camelCase on the wire, frozen, no type is guessed."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_alias=True, validate_by_name=True, frozen=True, strict=True
    )
