# The face of this room: what others may import.
from .queue import Durable as Durable
from .submission import submit as submit
from .worker import Worker as Worker
from .worker_processes import Workers as Workers
