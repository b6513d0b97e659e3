"""Compressed bodies: whole or refused, and never more than the bound."""

import gzip
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.collect.expand import MEMBERS_MAX, coding_of, expand
from headwater.domain.errors import BadInput, TooLarge

TEXT = b'[{"name":"a"}]' * 1000
CHECKED = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False)
PACK = {"gzip": gzip.compress, "zstd": CHECKED.compress}


@pytest.mark.parametrize("coding", PACK)
@pytest.mark.parametrize("text", [b"", b"a", TEXT, bytes(3_000_000)], ids=len)
def test_expanding_undoes_packing(coding: str, text: bytes) -> None:
    assert expand(PACK[coding](text), coding, 3_000_000) == text


@pytest.mark.parametrize("coding", PACK)
def test_several_members_are_one_body(coding: str) -> None:
    assert expand(PACK[coding](TEXT) + PACK[coding](b"x"), coding, 100_000) == TEXT + b"x"


@pytest.mark.parametrize("coding", PACK)
def test_a_body_cut_anywhere_is_refused(coding: str) -> None:
    packed = PACK[coding](TEXT)
    for end in range(len(packed)):
        with pytest.raises(BadInput) as raised:
            expand(packed[:end], coding, 100_000)
        assert raised.value.code == "BAD_ENCODING"


@pytest.mark.parametrize("coding", PACK)
@pytest.mark.parametrize("tail", [b"x", b"\0" * 9, TEXT])
def test_a_tail_that_is_no_member_is_refused(coding: str, tail: bytes) -> None:
    with pytest.raises(BadInput):
        expand(PACK[coding](TEXT) + tail, coding, 100_000)


@pytest.mark.parametrize("coding", PACK)
def test_a_bomb_is_refused_as_soon_as_it_exceeds_the_bound(coding: str) -> None:
    bomb = PACK[coding](bytes(100_000_000))
    assert len(bomb) < 110_000
    with pytest.raises(TooLarge) as raised:
        expand(bomb, coding, 1_000_000)
    assert (raised.value.code, raised.value.limit) == ("EXPANDED_TOO_LARGE", 1_000_000)


@pytest.mark.parametrize("coding", PACK)
def test_a_flood_of_empty_members_is_refused(coding: str) -> None:
    with pytest.raises(BadInput, match="more than 4096 members"):
        expand(PACK[coding](b"") * (MEMBERS_MAX + 1), coding, 1000)


def test_a_zstd_frame_may_not_ask_for_more_memory_than_the_web_allows() -> None:
    wide = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27))
    stream = wide.compressobj()
    with pytest.raises(BadInput):
        expand(stream.compress(bytes(1000)) + stream.flush(), "zstd", 10_000)


@settings(deadline=None)
@given(st.sampled_from(["gzip", "zstd"]), st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_expand_or_are_refused(coding: str, text: bytes, junk: bytes, cut: int) -> None:
    for body in (junk, PACK[coding](text)[:cut] + junk, PACK[coding](text) + junk):
        try:
            expand(body, coding, 1000)
        except (BadInput, TooLarge) as error:
            assert error.code in ("BAD_ENCODING", "EXPANDED_TOO_LARGE")


@pytest.mark.parametrize(
    ("header", "coding"), [(b"gzip", "gzip"), (b" GZIP ", "gzip"), (b"zstd", "zstd"), (b"identity", None), (b"", None)]
)
def test_known_codings(header: bytes, coding: str | None) -> None:
    assert coding_of(header) == coding


@pytest.mark.parametrize("header", [b"br", b"deflate", b"gzip, gzip", b"\xff"])
def test_other_codings_are_refused_by_name(header: bytes) -> None:
    with pytest.raises(BadInput) as raised:
        coding_of(header)
    assert raised.value.code == "UNSUPPORTED_ENCODING"


def test_raw_deflate_is_not_gzip() -> None:
    with pytest.raises(BadInput):
        expand(zlib.compress(TEXT), "gzip", 100_000)
