"""Named randomness: a draw belongs to its key, and to nothing else."""

from __future__ import annotations

import torch

from pipeline.seeding import generator, seed_of


def test_seeds_stay_what_they_were() -> None:
    """Stored texts can be made again only while these numbers hold, in every process."""
    assert seed_of("embedding", 0) == 2762371821473852960
    assert seed_of("fudge", "length", 0, "length-12", 3) == 3946153476192080523


def test_every_part_of_a_key_counts() -> None:
    keys = {
        ("a", "b", 0),
        ("a", "b", 1),
        ("b", "a", 0),
        ("a", "b"),
        ("ab", 0),
        ("a", "b0"),
        ("a", "", "b", 0),
    }
    keys |= {("a", "b", n) for n in range(1000)}
    assert len({seed_of(*key) for key in keys}) == len(keys)


def test_words_do_not_run_together() -> None:
    assert seed_of("ab", "c") != seed_of("a", "bc") != seed_of("abc")


def test_seeds_fit_every_generator() -> None:
    """At most 63 bits, as numpy and torch both take."""
    assert all(0 <= seed_of("size", n) < 2**63 for n in range(1000))
    assert max(seed_of("size", n) for n in range(1000)) > 2**62


def test_a_generator_of_its_own() -> None:
    """The same key draws the same, whatever the global generator and other keys do."""
    torch.manual_seed(1)
    first = torch.randn(8, generator=generator("text", 3))
    torch.manual_seed(2)
    other = generator("text", 4)
    torch.randn(5, generator=other)
    follows = torch.rand(1)
    assert torch.equal(torch.randn(8, generator=generator("text", 3)), first)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(1), follows)  # and moves the global one nowhere
