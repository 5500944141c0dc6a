"""The recipe of the embedded critic: rendered images, pretraining, curriculum."""
