# The face of this room: what others may import.
from .board import Board as Board
