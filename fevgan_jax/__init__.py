"""FEV-GAN in JAX and Flax: one neutral face and an expression label to a 32-frame video."""
