"""The lake's columns as an Arrow schema, from the words of `base.COLUMNS`."""

from arro3.core import DataType, Field, Schema

from headwater.storage.lake.base import COLUMNS

TYPES: dict[str, DataType] = {
    "bool": DataType.bool(),
    "int8": DataType.int8(),
    "int32": DataType.int32(),
    "int64": DataType.int64(),
    "date32": DataType.date32(),
    "string": DataType.string(),
    "binary": DataType.binary(),
}


def type_of(column: str) -> DataType:
    return TYPES[COLUMNS[column].partition(":")[0].rstrip("?")]


# Nullable throughout: Delta counts a field that is not as an invariant, which some readers refuse.
SCHEMA = Schema([Field(column, type_of(column), nullable=True) for column in COLUMNS])
