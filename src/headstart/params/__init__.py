"""The typed, frozen view of `params.yaml`: every wrong key or value is an error with its path.

The classes are the one description of what may stand in a params file. The JSON schema in
`workflow/schemas/` is made from them, and so are the keys of artifacts (`canonical`).
"""

from headstart.params.comparison import Comparison
from headstart.params.datasets import (
    TORCHVISION_NAMES,
    Dataset,
    Digits,
    Glyphs,
    ImageFolder,
    Task,
    Torchvision,
    TorchvisionName,
)
from headstart.params.inference import Contrast, Statistics
from headstart.params.invariance import (
    Descent,
    Dynamics,
    Gate,
    Invariance,
    Inversions,
    Robustness,
)
from headstart.params.knowledge import (
    Analysis,
    Arm,
    Baseline,
    GridPlayers,
    Knowledge,
    MaskPlayers,
    Scores,
)
from headstart.params.models import ConvNet, Model, OwnNetwork, Timm, Weights, WideResNet
from headstart.params.plasticity import Plasticity, RandomLabels
from headstart.params.reading import ParamsError, load, parse
from headstart.params.study import Figures, Params, Runtime
from headstart.params.training import (
    Augmentation,
    Checkpoints,
    Optimizer,
    Pretrain,
    Schedule,
    Selection,
    Training,
    Transfer,
)
from headstart.params.trajectory import Trajectory
from headstart.params.types import Section, canonical

__all__ = [
    "TORCHVISION_NAMES",
    "Analysis",
    "Arm",
    "Augmentation",
    "Baseline",
    "Checkpoints",
    "Comparison",
    "Contrast",
    "ConvNet",
    "Dataset",
    "Descent",
    "Digits",
    "Dynamics",
    "Figures",
    "Gate",
    "Glyphs",
    "GridPlayers",
    "ImageFolder",
    "Invariance",
    "Inversions",
    "Knowledge",
    "MaskPlayers",
    "Model",
    "Optimizer",
    "OwnNetwork",
    "Params",
    "ParamsError",
    "Plasticity",
    "Pretrain",
    "RandomLabels",
    "Robustness",
    "Runtime",
    "Schedule",
    "Scores",
    "Section",
    "Selection",
    "Statistics",
    "Task",
    "Timm",
    "Torchvision",
    "TorchvisionName",
    "Training",
    "Trajectory",
    "Transfer",
    "Weights",
    "WideResNet",
    "canonical",
    "load",
    "parse",
]
