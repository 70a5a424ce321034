"""Every key with its default, how a yaml becomes a config, and what makes two runs the same."""
