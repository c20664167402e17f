"""How to choose. Rooms, in reading order: costs, predictors, evolution; then `front`, `fleet` and
`sensitivity`. numpy only."""
