"""What each setting of a learner is worth on one small task: a file a variant, each with its difference alone."""
