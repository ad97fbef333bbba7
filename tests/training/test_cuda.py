"""On a GPU: options of training that exist there only, and evaluation that agrees with the CPU.

Run by `pytest -n 0 -m cuda`; everywhere else they are skipped.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from in_memory import CONVNET, VIT, WRN, Evaluation, network, planted, run, training
from safetensors.torch import load_file
from tiny_study import STUDY, make_sources
from torch import Tensor, nn

from headstart.artifacts import store
from headstart.artifacts.files import read_json
from headstart.metrics.passes import evaluation_mode
from headstart.params.models import Model
from headstart.params.recipe import Training
from headstart.plan import Plan
from headstart.registry import Params
from headstart.steps import trajectory
from headstart.studies.knowledge import values
from headstart.training.device import choose_device, reproducible
from headstart.training.evaluation import evaluate
from headstart.training.loop import Outcome

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.usefixtures("as_a_job_on_a_gpu"),
    # Kernels without a deterministic twin warn there, and the compiler warns of much else.
    pytest.mark.filterwarnings("default"),
]
TEST = planted(25, seed=5)


@pytest.fixture
def as_a_job_on_a_gpu() -> Iterator[None]:
    """Settle torch as a job does, and give back what other tests expect."""
    assert choose_device("auto").type == "cuda"
    reproducible(torch.device("cuda"))
    yield
    torch.use_deterministic_algorithms(False)


def maps_of(options: Training) -> tuple[list[Tensor], list[Tensor]]:
    """Train a network; return what its second convolution gave in training, and in evaluation."""
    net = network().to("cuda")
    trained: list[Tensor] = []
    evaluated: list[Tensor] = []

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        (trained if module.training else evaluated).append(output.detach())

    _, second, *_ = (module for module in net.modules() if isinstance(module, nn.Conv2d))
    second.register_forward_hook(note)
    run(net, options, device="cuda")
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
    return trained, evaluated


def train_losses(outcome: Outcome) -> list[float]:
    return [record.train_loss for record in outcome.history]


@pytest.mark.parametrize("model", [CONVNET, WRN, VIT])
def test_evaluation_in_float32_gives_the_logits_of_the_cpu(model: Model) -> None:
    net = network(model)
    run(net)
    on_cpu = evaluate(net, Evaluation(TEST))
    with evaluation_mode(net), torch.inference_mode():
        expected = net(TEST.images)
    net.to("cuda")
    with evaluation_mode(net), torch.inference_mode():
        logits = net(TEST.images.to("cuda")).cpu()
    # Three decimal digits more than TF32 has: it must be off.
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    on_gpu = evaluate(net, Evaluation(TEST.to("cuda")))
    assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=1e-5)
    assert on_gpu.accuracy == pytest.approx(on_cpu.accuracy, abs=0.011)  # one image of a hundred


@pytest.mark.parametrize("model", [CONVNET, VIT])
def test_a_gpu_trains_in_float32_as_the_cpu_does(model: Model) -> None:
    here = run(network(model), training(2))
    there = run(network(model).to("cuda"), training(2), device="cuda")
    assert train_losses(there) == pytest.approx(train_losses(here), rel=1e-3)


def test_bfloat16_is_for_the_forward_pass_of_training_alone() -> None:
    trained, evaluated = maps_of(training(precision="bfloat16"))
    assert {maps.dtype for maps in trained} == {torch.bfloat16}
    assert {maps.dtype for maps in evaluated} == {torch.float32}


def test_bfloat16_learns_what_float32_learns() -> None:
    options, task = training(8, precision="bfloat16"), planted(40, seed=1).to("cuda")
    outcome = run(options=options, train=task, device="cuda")
    assert outcome.history[-1].validation_accuracy > 0.9
    plain = run(options=training(8), train=task, device="cuda")
    assert train_losses(outcome)[0] == train_losses(plain)[0]
    assert train_losses(outcome)[1] == pytest.approx(train_losses(plain)[1], rel=0.02)
    assert train_losses(outcome)[1] != train_losses(plain)[1]


def test_channels_last_holds_in_every_map_and_changes_little() -> None:
    trained, _ = maps_of(training(channels_last=True))
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in trained)
    plain, last = (
        run(options=training(2, channels_last=asked), device="cuda") for asked in (False, True)
    )
    assert train_losses(last) == pytest.approx(train_losses(plain), rel=1e-3)


@pytest.mark.parametrize("compiling", [True, "cuda_graphs"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_network_trains_as_the_plain_one_and_keeps_its_names(
    precision: str, compiling: bool | str
) -> None:
    options = {"precision": precision, "channels_last": True}
    net = network().to("cuda")
    names = list(net.state_dict())
    compiled = run(net, training(3, compile=compiling, **options), device="cuda")
    plain = run(options=training(3, **options), device="cuda")
    tolerance = 1e-3 if precision == "float32" else 0.05
    assert train_losses(compiled) == pytest.approx(train_losses(plain), rel=tolerance)
    assert list(net.state_dict()) == list(compiled.best_state) == names


def test_values_of_masked_images_are_computed_there_and_agree_with_the_cpu(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {"targets": ["target"], "learning_rate": 0.1, "epochs": 2, "batch_size": 8, "seeds": [0]}
    part = {**STUDY["pretrain"]["convnet"], "seeds": [0]}
    study = {**STUDY, "transfer": {}, "pretrain": {"convnet": part}}
    study["trajectory"] = {
        "convnet": {
            "finetune": {**arms, "source_epochs": [2]},
            "scratch": {**arms, "source_epochs": [0]},
            "probe": {**arms, "mode": "probe", "source_epochs": [0, 2]},
        }
    }
    grid = {"kind": "grid", "rows": 2, "columns": 2}
    study["knowledge"] = {"convnet": {"images": 5, "players": grid, "chunk_size": 6}}
    of = Plan(Params.model_validate(study))
    make_sources(of)
    for job in of.jobs("trajectory"):
        store.run(job, trajectory.make)
    evaluated: set[str] = set()
    real = values.subset_scores

    def noted(net: nn.Module, inputs: Any, labels: Tensor, *rest: Any) -> Tensor:
        found = real(net, inputs, labels, *rest)
        evaluated.add(found.device.type)
        return found

    monkeypatch.setattr(values, "subset_scores", noted)
    job = of.jobs("values")[0]
    on_gpu = store.run(job, values.make, device="cuda")
    assert evaluated == {"cuda"}
    states = read_json(on_gpu.file("states.json"))["states"]
    there = [load_file(on_gpu.file(state["file"])) for state in states]
    shutil.rmtree(job.path)
    on_cpu = store.run(job, values.make)
    assert evaluated == {"cuda", "cpu"}
    for state, found in zip(states, there, strict=True):
        expected = load_file(on_cpu.file(state["file"]))
        assert {tensor.device.type for tensor in found.values()} == {"cpu"}
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-4)
