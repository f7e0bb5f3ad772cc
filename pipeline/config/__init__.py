"""YAML file + overrides -> validated, immutable sections. Other packages take names from here, not from its modules.

In the order of their imports:

    base          what every section is made of
    columns       what is what in the user's own file
    data_section  the section on data
    sections      the other sections
    idle          keys that change nothing beside the others
    names         the names of all keys, and which one is like a name that was typed
    meanings      what each key takes, and what for
    strict_yaml   YAML text -> plain values and the line of every key
    messages      what is said of a wrong configuration
    loading       load, dump, differences, reference
"""

from pipeline.config.base import Section as Section
from pipeline.config.columns import FIRST as FIRST
from pipeline.config.columns import TOLD as TOLD
from pipeline.config.columns import Columns as Columns
from pipeline.config.data_section import EMNIST_SPLITS as EMNIST_SPLITS
from pipeline.config.data_section import SERIES as SERIES
from pipeline.config.data_section import SUFFIXES as SUFFIXES
from pipeline.config.data_section import Data as Data
from pipeline.config.data_section import Policies as Policies
from pipeline.config.idle import idle as idle
from pipeline.config.loading import changed as changed
from pipeline.config.loading import differences as differences
from pipeline.config.loading import dump as dump
from pipeline.config.loading import load as load
from pipeline.config.loading import load_dumped as load_dumped
from pipeline.config.loading import make as make
from pipeline.config.loading import reference as reference
from pipeline.config.meanings import Meaning as Meaning
from pipeline.config.meanings import meanings as meanings
from pipeline.config.meanings import purposes as purposes
from pipeline.config.messages import expected_of as expected_of
from pipeline.config.messages import near_file as near_file
from pipeline.config.messages import without_secret as without_secret
from pipeline.config.names import homes as homes
from pipeline.config.names import is_switch as is_switch
from pipeline.config.names import nearest as nearest
from pipeline.config.names import spelled as spelled
from pipeline.config.sections import Config as Config
from pipeline.config.sections import Export as Export
from pipeline.config.sections import Model as Model
from pipeline.config.sections import Optim as Optim
from pipeline.config.sections import Run as Run
from pipeline.config.sections import Track as Track
from pipeline.config.sections import Train as Train
from pipeline.config.sections import interval as interval
