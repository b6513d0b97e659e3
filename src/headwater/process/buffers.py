"""Arrow tables as bytes between processes, and texts that lie in one piece: buffers put together without reading them.

Goes through the Arrow C data interface (three structs that never change), since arro3 can't be pickled and its IPC is
one package more. Only for what blocks are made of: columns of int64, bool and utf8.
"""

import ctypes
import itertools
from pickle import PickleBuffer
from typing import Any

import msgspec
from arro3.core import Array, DataType, RecordBatch, Table


class _Array(ctypes.Structure):
    """`struct ArrowArray` of the C data interface."""


_Release = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", _Release),
    ("private_data", ctypes.c_void_p),
]
_pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_capsule_of = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class Column(msgspec.Struct, array_like=True, gc=False):
    null_count: int
    buffers: list[Any]
    """Whatever has bytes; None for none. A pickle of protocol 5 takes them as they lie in memory."""


class Packed(msgspec.Struct, array_like=True, gc=False):
    """A table without its schema: that is the reader's."""

    rows: int
    columns: list[Column]


def pack(table: Table) -> tuple[Packed, object]:
    """(packed, owner): the table's own memory, which is there as long as the owner is."""
    batch = table.combine_chunks().to_batches()[0]
    _, capsule = batch.__arrow_c_array__()
    root = ctypes.cast(_pointer_in(capsule, b"arrow_array"), ctypes.POINTER(_Array)).contents
    fields = [batch.schema.field(i) for i in range(batch.num_columns)]
    return Packed(root.length, [_column(root.children[i].contents, f.type) for i, f in enumerate(fields)]), capsule


def unpack_table(packed: Packed, like: Table) -> Table:
    """The packed table under the schema of `like`, over the very memory of `packed`."""
    alive: list[Any] = [packed]
    children = (ctypes.POINTER(_Array) * len(packed.columns))()
    for i, column in enumerate(packed.columns):
        children[i] = ctypes.pointer(_array(packed.rows, column.null_count, column.buffers, None, alive))
    root = _array(packed.rows, 0, [None], children, alive)
    batch = RecordBatch.from_arrow_pycapsule(like.schema.__arrow_c_schema__(), _handed_over(root, alive))
    return Table.from_batches([batch])


def texts(offsets: bytes, data: bytes) -> Array:
    """Those that lie in `data` one after the other, n + 1 int32 offsets saying where. What is no UTF-8 becomes null."""
    alive: list[Any] = []
    rows = len(offsets) // 4 - 1
    root = _array(rows, 0, [None, offsets, data or bytes(8)], None, alive)
    alive += [offsets, data]
    binary = Array.from_arrow_pycapsule(DataType.binary().__arrow_c_schema__(), _handed_over(root, alive))
    return binary.cast(DataType.string())


def _handed_over(root: _Array, alive: list[Any]) -> Any:
    """A capsule that Arrow takes the array from; what is alive stays so until Arrow gives it back."""
    key = next(_keys)
    root.private_data = key
    _alive[key] = alive
    return _capsule_of(ctypes.addressof(root), b"arrow_array", None)


_keys = itertools.count(1)
_alive: dict[int, list[Any]] = {}
"""What tables made here still use, until Arrow gives it back; from any thread."""


def _give_back(array: Any) -> None:
    _alive.pop(array.contents.private_data or 0, None)
    array.contents.release = _Release()


_release = _Release(_give_back)


def _array(rows: int, null_count: int, buffers: list[Any], children: Any, alive: list[Any]) -> _Array:
    pointers = (ctypes.c_void_p * len(buffers))()
    for i, buffer in enumerate(buffers):
        if isinstance(buffer, bytes):
            pointers[i] = ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p)
        elif buffer is not None:
            start = ctypes.c_char.from_buffer(memoryview(buffer))
            pointers[i] = ctypes.addressof(start)
            alive.append(start)
    array = _Array(
        length=rows,
        null_count=null_count,
        n_buffers=len(buffers),
        n_children=len(children) if children else 0,
        buffers=ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p)),
        release=_release,
    )
    if children:
        array.children = ctypes.cast(children, ctypes.POINTER(ctypes.POINTER(_Array)))
    alive += [array, pointers, children]
    return array


def _column(array: _Array, kind: DataType) -> Column:
    n, buffers = array.length, array.buffers
    if array.offset:
        raise ValueError(f"can't pack a column with offset {array.offset}")
    found: list[Any] = [_at(buffers[0], (n + 7) // 8) if array.null_count else None]
    if kind == DataType.string():
        size = ctypes.c_int32.from_address(buffers[1] + 4 * n).value if n else 0
        found += [_at(buffers[1], 4 * (n + 1) if n else 0), _at(buffers[2], size)]
    else:
        found.append(_at(buffers[1], (n + 7) // 8 if kind == DataType.bool() else 8 * n))
    return Column(array.null_count, found)


def _at(pointer: int | None, size: int) -> Any:
    if not pointer or not size:
        return bytes(8)
    return PickleBuffer(memoryview((ctypes.c_char * size).from_address(pointer)).cast("B"))
