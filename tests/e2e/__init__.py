"""Real servers: what a user does, the page in a browser, and every command of the docs."""
