import pytest
import torch
from in_memory import VIT, WRN, network
from torch import nn

from headstart.params import Optimizer
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


def test_without_momentum_nesterov_is_plain_gradient_descent() -> None:
    net = nn.Linear(2, 1, bias=False)
    optimizer = build_optimizer(net, Optimizer(momentum=0.0), 0.5)
    before = net.weight.detach().clone()
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(net.weight, before - 0.5)


def test_both_optimisers_are_built_with_their_options() -> None:
    adamw = build_optimizer(network(), Optimizer(name="adamw", betas=(0.8, 0.9)), 0.5)
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.param_groups[0]["betas"] == (0.8, 0.9)
    sgd = build_optimizer(network(), Optimizer(momentum=0.7), 0.5)
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.param_groups[0]["momentum"], sgd.param_groups[0]["nesterov"]) == (0.7, True)
