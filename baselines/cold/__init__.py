"""COLD (Qin et al., 2022): the middle as logits, drawn by Langevin dynamics from an energy of constraints."""
