"""The two tokenizers on literal lines of E2E."""

from __future__ import annotations

import pytest

from pipeline.corpora.tokenizer import spacy_tokens, tgen_tokenize


@pytest.mark.parametrize(
    ("official", "src1"),
    [
        (
            "The Vaults has a 5 star rating.  Prices start at £30.",
            "The Vaults has a 5 star rating . Prices start at £ 30 .",
        ),
        ("A family-friendly, 5-star pub for £20-25.", "A family - friendly , 5 - star pub for £ 20 - 25 ."),
        ("It costs £20-£25, or £10.50.", "It costs £ 20- £ 25 , or £ 10.50 ."),
        ("Clowns isn't cheap; it's rated 1-5.", "Clowns isn 't cheap ; it 's rated 1 - 5 ."),
        ("Near 'The Mill', by the 'Café'.", "Near ' The Mill ' , by the ' Café ' ."),
        (
            "It is 3 out of 5. it is less than £20. it is good",
            "It is 3 out of 5. it is less than £ 20 . it is good",
        ),
        ("Near St. John's for 30 GBP. Cheap..", "Near St. John 's for 30 GBP . Cheap .."),
        ("By the river,there is ,low- cost", "By the river , there is , low- cost"),
        ("A pub,\r\ncheap", "A pub , cheap"),
        ("", ""),
    ],
)
def test_tgen_tokenize_writes_src1(official: str, src1: str) -> None:
    assert tgen_tokenize(official) == src1


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The Mill is cheap . \n", ["The", "Mill", "is", "cheap", ".", "\n"]),
        ("It isn 't cheap", ["It", "isn", "'", "t", "cheap"]),
        ("The Mill isn't cheap.", ["The", "Mill", "is", "n't", "cheap", "."]),
        ("£ 20- £ 25", ["£", "20-", "£", "25"]),
        ("a  b", ["a", " ", "b"]),
        ("", []),
    ],
)
def test_spacy_tokens(text: str, tokens: list[str]) -> None:
    assert spacy_tokens(text) == tokens
