"""The invariance study, after arXiv 2307.06006."""

from headstart.steps.step import TRAINED
from headstart.studies.invariance.params import SECTIONS
from headstart.studies.study import Step, Study

INVERTED = (*TRAINED, "invariance")

STUDY = Study(
    name="invariance",
    question="What do vision transformers forget, learn and move between layers?",
    paper="arXiv 2307.06006",
    sections=SECTIONS,
    problems="headstart.studies.invariance.params:find_problems",
    steps=(
        # Before transfers: the comparison waits for them, and its figures are drawn beside other work.
        Step(
            "inversions",
            "headstart.studies.invariance.inversions:make",
            cost="headstart.studies.invariance.cost:inversions",
            reads=("data", "pretrain", "trajectory"),
            sections=INVERTED,
            gpu=True,
            priority=12,
            memory_mb=16000,
            minutes=480,
        ),
        Step(
            "invariance",
            "headstart.studies.invariance.compare:make",
            cost="headstart.studies.invariance.cost:invariance",
            reads=("data", "pretrain", "trajectory", "inversions"),
            sections=INVERTED,
            gpu=True,
            priority=12,
            memory_mb=16000,
            minutes=480,
        ),
    ),
    jobs="headstart.studies.invariance.jobs:add",
    tables="headstart.studies.invariance.tables:make",
    columns="headstart.studies.invariance.columns:MEASUREMENTS",
    tabulated=("invariance",),
    claims="headstart.studies.invariance.claims:ClaimEvaluator",
    controls="headstart.studies.invariance.controls:controls",
    answer="headstart.studies.invariance.answer:answer",
    figures={
        "invariance_trust": "How well the networks were inverted",
        "invariance_tasks": "What classifying and reconstructing forget and learn, by depth",
        "invariance_starts": "What is forgotten and learnt from the pretrained start and from scratch",
        "invariance_readings": "Does forgetting depend on depth, and on what is read of a block?",
        "invariance_flow_published": "Published flow",
        "invariance_flow": "Where invariances end up: flow, excess compression, control",
        "invariance_dynamics": "Forgetting, learning and accuracy while the target trains",
        "invariance_robustness": "Does the spread of forgetting follow robustness?",
    },
    appendix=("invariance_flow_published",),
    samples="headstart.studies.invariance.samples:draw",
    checks="headstart.studies.invariance.checks",
    published=("invariance_figures.csv",),
    metrics={"forgetting_minus_cka_divergence": "I2", "compression": "I9"},
)
