"""AR infilling: a language model that reads both contexts, then writes the middle (paper Section 6.4)."""
