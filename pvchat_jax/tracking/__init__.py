"""Where numbers of training and evaluation are shown: TensorBoard always, and what a configuration names besides."""
