"""The methods that Diffusion-LM is compared with, all behind pipeline.methods.Method."""
