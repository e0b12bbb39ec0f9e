"""Amounts and currencies that people write: a price, or the limit of a budget."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from aigen_bridge.domain.money import CURRENCIES, amount_text, parse_amount

CURRENCY = "three upper-case letters (ISO 4217), such as `USD`"


def _amount(value: Any) -> str:
    """Returns the amount in its usual form. A number is refused: as a float, it has lost digits before it is read."""
    if not isinstance(value, str):
        raise PydanticCustomError("amount", 'must be a decimal in quotation marks, such as "0.035"')
    found = parse_amount(value)
    if found is None:
        raise PydanticCustomError("amount", "must be a decimal from 0 without too many digits, such as 0.035")
    return amount_text(found)


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError("currency", "must be a currency of ISO 4217 in upper-case letters, such as USD")
    return value


Amount = Annotated[str, BeforeValidator(_amount)]
Currency = Annotated[str, AfterValidator(_currency)]
