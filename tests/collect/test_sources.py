"""Ledger labels."""

from headwater.collect.sources import Labels


def test_beyond_the_limit_sources_count_as_other() -> None:
    labels = Labels(["a"], sources_max=2)
    assert labels.counts({"a": 1, "b": 2, "c": 3, "d": 4}) == {"a": 1, "b": 2, "(other)": 7}
    assert labels.label("a") == "a"
    assert "c" not in labels


def test_our_own_labels_take_no_room() -> None:
    labels = Labels(["(other)"], sources_max=1)
    assert labels.counts({"(unknown)": 1, "(other)": 2, "a": 3}) == {"(unknown)": 1, "(other)": 2, "a": 3}
    assert len(labels) == 1
