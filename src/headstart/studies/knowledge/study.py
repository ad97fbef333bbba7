"""The study of knowledge, after arXiv 2410.08455."""

from headstart.steps.step import TRAINED
from headstart.studies.knowledge.params import SECTIONS
from headstart.studies.study import Step, Study

SCORED = (*TRAINED, "knowledge")

STUDY = Study(
    name="knowledge",
    question="Which interactions does fine-tuning preserve, discard and learn?",
    paper="arXiv 2410.08455",
    sections=SECTIONS,
    problems="headstart.studies.knowledge.comparison:find_problems",
    steps=(
        # Before transfers: the comparison and its figures wait for the scores.
        Step(
            "values",
            "headstart.studies.knowledge.values:make",
            cost="headstart.studies.knowledge.cost:values",
            reads=("data", "trajectory"),
            sections=SCORED,
            gpu=True,
            priority=12,
            memory_mb=16000,
            minutes=480,
        ),
        Step(
            "knowledge",
            "headstart.studies.knowledge.measure:make",
            cost="headstart.studies.knowledge.cost:knowledge",
            reads=("values",),
            sections=SCORED,
            priority=12,
            memory_mb=16000,
            minutes=240,
        ),
    ),
    jobs="headstart.studies.knowledge.jobs:add",
    tables="headstart.studies.knowledge.tables:make",
    columns="headstart.studies.knowledge.tables:SCHEMA",
    tabulated=("knowledge",),
    claims="headstart.studies.knowledge.claims:ClaimEvaluator",
    controls="headstart.studies.knowledge.controls:controls",
    answer="headstart.studies.knowledge.answer:answer",
    controlled=("knowledge", "values"),
    figures={
        "knowledge_orders": "Preserved, discarded and new interactions by order",
        "knowledge_exclusivity": "What training from scratch finds too of the preserved",
        "knowledge_dynamics": "How interactions approach those at the end of training",
        "knowledge_sparsity": "Are interactions few, and do they match the network?",
    },
    appendix=("knowledge_sparsity",),
    samples="headstart.studies.knowledge.samples:draw",
    checks="headstart.studies.knowledge.checks",
    metrics={"preserved": "K1", "new": "K3", "preserved_found_by_scratch": "K4"},
)
