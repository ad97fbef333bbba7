from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from in_memory import CONVNET, VIT, WRN, Batches, Evaluation, network, planted, run

from headstart import params
from headstart.training.evaluation import evaluate

TEST = planted(13, seed=5)


def part(batches: Batches, chosen: slice) -> Batches:
    return replace(batches, images=batches.images[chosen], labels=batches.labels[chosen])


@pytest.mark.parametrize("model", [CONVNET, WRN, VIT])
def test_accuracy_depends_on_neither_batch_size_nor_other_test_images(model: params.Model) -> None:
    net = network(model)
    run(net)
    evaluations = [evaluate(net, Evaluation(replace(TEST, batch_size=n))) for n in (1, 7, 52)]
    assert len({each.accuracy for each in evaluations}) == 1
    assert [each.loss for each in evaluations] == pytest.approx([evaluations[0].loss] * 3, rel=1e-5)
    halves = [part(TEST, slice(0, 20)), part(TEST, slice(20, None))]
    correct = sum(evaluate(net, Evaluation(h)).accuracy * h.num_images for h in halves)
    assert round(correct) == round(evaluations[0].accuracy * TEST.num_images)


def test_two_evaluations_are_identical_and_change_nothing() -> None:
    net = network(WRN)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert evaluate(net, Evaluation(TEST)) == evaluate(net, Evaluation(TEST))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_every_module_gets_back_the_mode_it_had() -> None:
    net = network(WRN).train()
    net.backbone.get_submodule("group2").eval()
    before = [module.training for module in net.modules()]
    evaluate(net, Evaluation(TEST))
    assert [module.training for module in net.modules()] == before


def test_loss_and_accuracy_are_means_over_images_whatever_the_last_batch_holds() -> None:
    net = network().eval()
    with torch.no_grad():
        logits = net(TEST.images)
    result = evaluate(net, Evaluation(replace(TEST, batch_size=50)))
    assert result.loss == pytest.approx(F.cross_entropy(logits, TEST.labels).item(), rel=1e-5)
    assert result.accuracy == (logits.argmax(1) == TEST.labels).double().mean().item()
