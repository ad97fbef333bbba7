import copy
import subprocess
import sys

import pytest
import torch
from in_memory import VIT, WRN, network
from torch import nn

from headstart.params.recipe import Optimizer
from headstart.training.optimizers import build_optimizer, parameter_groups


@pytest.mark.parametrize("model", [WRN, VIT])
def test_norms_biases_and_embeddings_are_kept_off_weight_decay(model) -> None:  # type: ignore[no-untyped-def]
    net = network(model)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    decayed, free = parameter_groups(net, 0.1)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    embeddings = {names[id(p)] for p in free["params"] if p.ndim > 1}
    listed = {"backbone.pos_embed", "backbone.cls_token"} if model is VIT else set()
    assert embeddings == listed
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def test_the_head_can_be_kept_off_weight_decay() -> None:
    net = network()
    decayed, free = parameter_groups(net, 0.1, decay_head=False)
    kept = {id(parameter) for parameter in free["params"]}
    assert id(net.head.weight) in kept
    assert len(decayed["params"]) == len(parameter_groups(net, 0.1)[0]["params"]) - 1


def test_frozen_parameters_are_left_out() -> None:
    net = network()
    net.backbone.requires_grad_(False)
    parameters = [p for group in parameter_groups(net, 0.1) for p in group["params"]]
    assert {id(p) for p in parameters} == {id(p) for p in net.head.parameters()}


OPTIONS = {
    "sgd": Optimizer(momentum=0.7),
    "without Nesterov's rule": Optimizer(momentum=0.7, nesterov=False),
    "without momentum": Optimizer(momentum=0.0),
    "adamw": Optimizer(name="adamw", betas=(0.8, 0.9)),
}


def of_torch(net: nn.Module, options: Optimizer) -> torch.optim.Optimizer:
    groups = parameter_groups(net, 0.1)
    if options.name == "adamw":
        return torch.optim.AdamW(groups, betas=options.betas, fused=True)
    nesterov = options.nesterov and options.momentum > 0
    return torch.optim.SGD(groups, momentum=options.momentum, nesterov=nesterov, fused=True)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_updates_are_those_of_torch_bit_for_bit(options: Optimizer) -> None:
    net = network().to(memory_format=torch.channels_last)
    twin = copy.deepcopy(net)
    ours = build_optimizer(net, options.model_copy(update={"weight_decay": 0.1}))
    theirs = of_torch(twin, options)
    generator = torch.Generator().manual_seed(0)
    for rate in (0.1, 0.05, 0.02):
        for parameter, other in zip(net.parameters(), twin.parameters(), strict=True):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            other.grad = parameter.grad.clone()
        ours.step(rate)
        for group in theirs.param_groups:
            group["lr"] = rate
        theirs.step()
    for parameter, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter, other)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_parameters_without_a_gradient_stay_as_they_are(options: Optimizer) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = copy.deepcopy(net.state_dict())
    optimizer = build_optimizer(net, options)
    net[0](torch.ones(1, 2)).sum().backward()
    optimizer.step(0.5)
    changed = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    assert changed == {"0.weight", "0.bias"}
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_without_momentum_nesterov_is_plain_gradient_descent() -> None:
    net = nn.Linear(2, 1, bias=False)
    optimizer = build_optimizer(net, Optimizer(momentum=0.0))
    before = net.weight.detach().clone()
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step(0.5)
    assert torch.equal(net.weight, before - 0.5)


def test_training_does_not_load_torchs_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from headstart.params.recipe import Optimizer\n"
        "from headstart.training.device import reproducible\n"
        "from headstart.training.optimizers import build_optimizer\n"
        "reproducible(torch.device('cpu'))\n"
        "net = torch.nn.Linear(2, 2)\n"
        "for name in ('sgd', 'adamw'):\n"
        "    optimizer = build_optimizer(net, Optimizer(name=name))\n"
        "    net(torch.ones(1, 2)).sum().backward()\n"
        "    optimizer.step(0.1)\n"
        "assert torch.are_deterministic_algorithms_enabled()\n"
        "assert not {'torch._dynamo', 'torch._inductor'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
