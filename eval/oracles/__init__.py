"""Judges of syntax: taggers (spaCy) and constituency parsers (benepar), and what they say of texts."""
