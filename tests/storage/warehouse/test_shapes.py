"""Which attributes a seal turns into columns."""

from headwater.storage.warehouse.duckdb.shapes import PATHS_MAX, chosen, paths_of


def test_keys_of_a_flat_object_are_its_paths() -> None:
    assert len(paths_of(["a", "b", "a"])) == 2


def test_nested_objects_and_lists_count_every_key() -> None:
    assert len(paths_of({"a": "VARCHAR", "o": {"x": "UBIGINT", "y": {"z": "BOOLEAN"}}})) == 5
    assert len(paths_of({"l": [{"x": "UBIGINT", "y": "UBIGINT"}]})) == 3


def test_the_most_frequent_shapes_are_taken_while_their_paths_fit() -> None:
    shapes = [(1, '["a", "b"]', 40), (2, '["c", "d", "e"]', 30), (3, '["b", "c"]', 20), (4, '["a"]', 10)]
    assert chosen(shapes, paths_max=3) == ([1, 3, 4], 70)


def test_one_wide_shape_takes_no_room_from_the_others() -> None:
    wide = "[" + ",".join(f'"k{n}"' for n in range(PATHS_MAX + 1)) + "]"
    assert chosen([(1, wide, 9), (2, '["a"]', 3)]) == ([2], 3)


def test_a_shape_too_deep_to_parse_is_left_out() -> None:
    deep = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
    assert chosen([(1, deep, 9), (2, '{"a":"VARCHAR"}', 3)]) == ([2], 3)
