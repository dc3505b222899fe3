"""FT-sample, FT-search and FT-PoE: language models fine-tuned on (control, text) pairs, one per task."""
