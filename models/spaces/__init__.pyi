# The face of this room: what others may import.
from .arch import Arch as Arch
from .arch import register_arch_form as register_arch_form
from .files import load_space as load_space
from .files import published_spaces as published_spaces
from .files import read_space as read_space
from .mobile import MobileSpace as MobileSpace
from .picture import architecture_svg as architecture_svg
from .picture import plan_svg as plan_svg
from .plan import layer_plan as layer_plan
from .space import Gene as Gene
from .space import GeneMatrix as GeneMatrix
from .space import Scope as Scope
from .space import SearchSpace as SearchSpace
from .space import make_divisible as make_divisible
