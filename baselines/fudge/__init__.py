"""FUDGE: a language model steered by a discriminator of the future (Yang and Klein, 2021)."""
