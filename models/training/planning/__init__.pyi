# The face of this room: what others may import.
from .image_choices import LEAST_HELD_OUT as LEAST_HELD_OUT
from .image_choices import augmentation_of as augmentation_of
from .image_choices import held_out_count as held_out_count
from .plan import RecipePlan as RecipePlan
from .plan import plan_recipe as plan_recipe
from .recipe_file import recipe_text as recipe_text
from .step_timing import time_step as time_step
