"""What a profile is: catalogue, features, labels, quality gates and the models. Pure."""
