import gzip
import os
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.collect.importing import lines
from headwater.collect.importing.lines import LINE_BYTES_MAX, Line, lines_of
from headwater.collect.importing.opening import Input, plain_name
from headwater.domain.errors import BadInput

# As the zstd command does: with a checksum, without which a flipped bit in stored bytes can not be seen.
ZSTD = zstandard.ZstdCompressor(write_checksum=True)


def read(path: Path, offset: int = 0, before: int = 0) -> list[Line]:
    with Input(path) as source:
        source.skip_to(offset)
        return list(lines_of(source, before))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30)), st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.integers(1, 50))
def test_lines_and_offsets_are_those_of_the_file_whatever_the_block_size(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], newline: bytes, ends: bool, block: int
) -> None:
    parts = [part.replace(b"\n", b"").replace(b"\r", b"") for part in parts]
    parts = [part for part in parts if not part.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))]
    content = newline.join(parts) + (newline if ends and parts else b"")
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(content)
    with Input(path) as source:
        unpatched, source.read = source.read, lambda size=block: unpatched(min(size, block))  # type: ignore[method-assign]
        found = list(lines_of(source))
    expected = content.split(newline)
    if expected[-1] == b"":
        expected.pop()
    assert [line.text for line in found] == expected
    assert [line.number for line in found] == list(range(1, len(expected) + 1))
    for line in found:
        assert [rest.text for rest in read(path, line.end, line.number)] == expected[line.number :]


def test_a_byte_order_mark_is_dropped_and_utf16_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfhello\nworld")
    assert [(line.text, line.end) for line in read(path)] == [(b"hello", 9), (b"world", 14)]
    path.write_bytes("hello".encode("utf-16"))
    with pytest.raises(BadInput, match="UTF-16; convert it to UTF-8"):
        read(path)


@pytest.mark.parametrize("size", [LINE_BYTES_MAX + 1, 3 * LINE_BYTES_MAX, 40 * LINE_BYTES_MAX + 7])
def test_an_overlong_line_is_cut_without_being_held_and_its_neighbours_live(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before\n" + b"x" * size + b"\nafter\n")
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(line.number, line.is_whole) for line in found] == [(1, True), (2, False), (3, True)]
    assert [found[0].text, found[2].text] == [b"before", b"after"]
    assert found[1].text == b"x" * lines.KEPT_BYTES
    assert found[1].end == 7 + size + 1
    assert found[2].end == path.stat().st_size
    assert peak < 8 * LINE_BYTES_MAX


def test_an_overlong_last_line_without_an_end_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * (3 * LINE_BYTES_MAX))
    (line,) = read(path)
    assert (line.is_whole, line.end) == (False, 3 * LINE_BYTES_MAX)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ""])
def test_offsets_count_expanded_bytes_and_consumed_counts_the_files_own(tmp_path: Path, suffix: str) -> None:
    content = b"".join(b"line %d\n" % number for number in range(200_000))
    path = tmp_path / f"a{suffix}"
    packed = {".gz": gzip.compress, ".zst": zstandard.compress, "": bytes}[suffix](content)
    path.write_bytes(packed)
    with Input(path) as source:
        found = list(lines_of(source))
        assert source.consumed == source.size == len(packed)
    assert found[-1].end == len(content)
    assert [line.text for line in read(path, found[99_999].end, 100_000)] == [line.text for line in found[100_000:]]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", ZSTD.compress)])
def test_a_cut_off_or_false_compressed_file_is_told(tmp_path: Path, suffix: str, pack: object) -> None:
    assert callable(pack)
    path = tmp_path / f"a{suffix}"
    whole = pack(os.urandom(3 << 20))
    for content in (whole[: len(whole) // 2], b"not compressed at all", whole[:1000] + b"?" * 2000 + whole[3000:]):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="can't be decompressed"):
            read(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(BadInput, match="can't read"):
            Input(path)


def test_the_plain_name_is_without_the_compression() -> None:
    assert [plain_name(Path(name)) for name in ("/x/a.log.gz", "a.log.ZST", "a.log", ".gz", "a.log.1")] == [
        "a.log",
        "a.log",
        "a.log",
        ".gz",
        "a.log.1",
    ]
