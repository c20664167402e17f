# The face of this room: what others may import.
from .plan import RecipePlan as RecipePlan
from .plan import are_characters as are_characters
from .plan import plan_recipe as plan_recipe
from .recipe_file import recipe_text as recipe_text
from .step_timing import time_step as time_step
