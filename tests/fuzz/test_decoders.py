"""Every decoder on input that is a little wrong, and on input that is nothing at all."""

import pytest
from tests.fuzz.decoders import DECODERS
from tests.fuzz.mutation import fuzz

FEW, MANY = 150, 1500


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_refuses_by_name_and_never_invents(name: str) -> None:
    fuzz(*DECODERS[name], FEW)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2])
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_at_length(name: str, number: int) -> None:
    fuzz(*DECODERS[name], MANY, number)
