"""What is published of a release: wheels in new environments, and clients that others generate."""
