"""Diffusion-LM, in the order of the paper: schedule, process, embedding, denoiser, objective, control."""
