"""Corpora: readers, tokenizers and the vocabulary."""
