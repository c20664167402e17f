# The face of this room: what others may import.
from .arch import Arch as Arch
from .arch import register_arch_form as register_arch_form
from .files import load_space as load_space
from .files import published_spaces as published_spaces
from .files import read_space as read_space
from .files import register_family as register_family
from .files import unregister_family as unregister_family
from .genes import Gene as Gene
from .genes import GeneMatrix as GeneMatrix
from .genes import GeneName as GeneName
from .genes import Scope as Scope
from .genes import make_divisible as make_divisible
from .mobile import MobileSpace as MobileSpace
from .picture import architecture_svg as architecture_svg
from .picture import plan_svg as plan_svg
from .plan import layer_plan as layer_plan
from .space import SearchSpace as SearchSpace
