"""DELOREAN (Qin et al., 2020): a text as logits, moved by gradients from the right, mixed from the left."""
