"""The kinds of layers: what each costs, computes and is called in files."""
