"""Diffusion-LM, in the paper's order: schedule, process, embedding, denoiser, objective, sampling, control."""
