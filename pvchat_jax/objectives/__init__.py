"""Training objectives: next-token loss, Smooth Proximity Regularization, Head Activation Enhancement."""
