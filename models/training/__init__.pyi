# The face of this room: what others may import.
from .from_scratch import compare as compare
from .from_scratch import reference_archs as reference_archs
from .recipe import RECIPES as RECIPES
from .recipe import Recipe as Recipe
from .recipe import load_recipe as load_recipe
from .recipe import parse_recipe as parse_recipe
from .trainer import TrainingProgress as TrainingProgress
from .training_run import train as train
from .training_run import training_folder as training_folder
