"""The joined study: the three questions asked of the same starts."""

from headstart.steps.step import PRETRAINED
from headstart.studies.joined.params import SECTIONS
from headstart.studies.study import Step, Study

STUDY = Study(
    name="joined",
    question="Does an earlier start help because it keeps more, or because it can still be trained?",
    paper="joins arXiv 2106.11174, 2410.08455 and 2307.06006",
    sections=SECTIONS,
    problems="headstart.studies.joined.params:find_problems",
    steps=(
        # After the transfers whose rates it reads, before figures of other studies.
        Step(
            "joined",
            "headstart.studies.joined.measure:make",
            cost="headstart.studies.joined.cost:joined",
            reads=("data", "pretrain", "transfer"),
            sections=(*PRETRAINED, "transfer", "joined"),
            after=("check",),
            gpu=True,
            priority=11,
            memory_mb=16000,
            minutes=480,
        ),
    ),
    jobs="headstart.studies.joined.jobs:add",
    tables="headstart.studies.joined.tables:make",
    columns="headstart.studies.joined.tables:SCHEMA",
    tabulated=("joined",),
    claims="headstart.studies.joined.claims:ClaimEvaluator",
    controls="headstart.studies.joined.controls:controls",
    answer="headstart.studies.joined.answer:answer",
    checks="headstart.studies.joined.checks",
    figures={
        "joined_epochs": "Everything on one axis of source epochs",
        "joined_associations": "What goes with the gain, at a given epoch?",
        "joined_interventions": "Which intervention moves the gain?",
    },
)
