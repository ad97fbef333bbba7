"""The early-stopping study, after arXiv 2106.11174."""

from headstart.steps.step import PRETRAINED
from headstart.studies.early_stopping.params import SECTIONS
from headstart.studies.study import Step, Study

TRANSFERRED = (*PRETRAINED, "transfer")

STUDY = Study(
    name="early_stopping",
    question="Is the source-optimal checkpoint the best one to fine-tune?",
    paper="arXiv 2106.11174",
    sections=SECTIONS,
    problems="headstart.studies.early_stopping.params:find_problems",
    steps=(
        Step(
            "transfer",
            "headstart.studies.early_stopping.transfer:make",
            cost="headstart.studies.early_stopping.cost:transfer",
            reads=("data", "pretrain"),
            sections=TRANSFERRED,
            after=("check",),
            gpu=True,
            priority=10,
            memory_mb=16000,
            minutes=1440,
        ),
        # After transfers, which last longer, and before figures of other studies.
        Step(
            "plasticity",
            "headstart.studies.early_stopping.plasticity:make",
            cost="headstart.studies.early_stopping.cost:plasticity",
            reads=("data", "pretrain"),
            sections=(*TRANSFERRED, "plasticity"),
            gpu=True,
            priority=5,
            memory_mb=8000,
            minutes=240,
        ),
        Step(
            "scores",
            "headstart.studies.early_stopping.scores:make",
            cost="headstart.studies.early_stopping.cost:scores",
            reads=("data", "pretrain"),
            sections=(*TRANSFERRED, "scores"),
            gpu=True,
            priority=5,
            memory_mb=8000,
            minutes=240,
        ),
    ),
    jobs="headstart.studies.early_stopping.jobs:add",
    tables="headstart.studies.early_stopping.tables:make",
    columns="headstart.studies.early_stopping.tables:SCHEMA",
    tabulated=("pretrain", "transfer", "plasticity", "scores"),
    claims="headstart.studies.early_stopping.claims:ClaimEvaluator",
    controls="headstart.studies.early_stopping.controls:controls",
    answer="headstart.studies.early_stopping.answer:answer",
    figures={
        "transfer": "Accuracy on the target against the source epoch",
        "gains": "Gain over the source-best start",
        "ranges": "Median and range of all runs, as published studies draw them",
        "stems": "Accuracy from each start, above source epoch 0",
        "learning_rates": "Learning rates",
        "curves": "Accuracy while the target trains",
        "curve_panels": "Accuracy while the target trains, by start, training images beside",
        "plasticity": "Can the checkpoints still learn?",
        "choices": "Which rule finds the checkpoint to fine-tune?",
    },
    appendix=("ranges", "stems", "curve_panels"),
    opening="headstart.studies.early_stopping.report:opening",
    closing="headstart.studies.early_stopping.report:closing",
    checks="headstart.studies.early_stopping.checks",
    decided_by=("statistics",),
    published=("early_stopping.csv", "early_stopping_protocols.csv"),
    curves="transfer_",
    metrics={
        "gain_over_scratch": "C0",
        "gain_of_earlier_start": "C1",
        "gain_of_earlier_start_tuned": "C1T",
    },
)
