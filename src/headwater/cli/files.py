"""Files of JSON that a command is given."""

import json
from typing import IO, Any

from headwater.domain.errors import BadInput


def json_of(file: IO[str]) -> dict[str, Any]:
    """The object in a file. Raises BadInput (BAD_FILE)."""
    try:
        value = json.load(file)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file.name} is not JSON: {error}", code="BAD_FILE", value=file.name) from error
    if not isinstance(value, dict):
        raise BadInput(f"{file.name} holds no JSON object", code="BAD_FILE", value=file.name)
    return value
