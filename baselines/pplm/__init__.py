"""PPLM (Dathathri et al., 2020): a language model steered by gradients on its keys and values."""
