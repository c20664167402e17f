"""How to choose. Rooms, in reading order: costs, predictors, evolution; then `front`, `target`,
`fleet` and `sensitivity`. numpy only."""
