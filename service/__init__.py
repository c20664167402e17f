"""How it is served and remembered. Rooms, from the top: cli, http, jobs, delivery, catalog,
storage, contracts; `client` stands beside them and knows the contracts alone."""
