from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from in_memory import CONVNET, VIT, WRN, Evaluation, network, planted, run
from torch import Tensor

from headstart.metrics.passes import evaluation_mode
from headstart.networks.network import Network
from headstart.params.models import Model
from headstart.tasks.batches import EvaluationBatches, Normalization
from headstart.tasks.task import TestImages
from headstart.training.evaluation import evaluate

TEST = planted(13, seed=5)
# Statistics of a source task; images of a target are normalised by them.
SOURCE = Normalization((0.3,), (0.2,))
PIXELS = torch.randint(0, 256, (52, 1, 8, 8), generator=torch.Generator().manual_seed(5))


def logits_of(net: Network, chosen: Tensor, batch_size: int) -> Tensor:
    """Return the logits of these test images, [images, classes], when no others are present."""
    images = TestImages(PIXELS[chosen].to(torch.uint8), TEST.labels[chosen], tuple("abcd"))
    batches = EvaluationBatches(images, SOURCE, batch_size, "cpu")
    with evaluation_mode(net), torch.inference_mode():
        return torch.cat([net(inputs) for inputs, _ in batches])


@pytest.mark.parametrize("model", [CONVNET, WRN, VIT])
def test_logits_of_an_image_depend_on_neither_batch_size_nor_other_test_images(
    model: Model,
) -> None:
    net = network(model)
    run(net)
    everything = torch.arange(52)
    whole = logits_of(net, everything, 52)
    assert whole.std(dim=0).min() > 1e-3  # a hundred times what is tolerated below
    for chosen in (everything[:26], everything[26:], everything[::2]):
        for batch_size in (1, 7, 52):
            alone = logits_of(net, chosen, batch_size)
            torch.testing.assert_close(alone, whole[chosen], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", [CONVNET, WRN, VIT])
def test_accuracy_and_loss_do_not_depend_on_the_batch_size(model: Model) -> None:
    net = network(model)
    run(net)
    evaluations = [evaluate(net, Evaluation(replace(TEST, batch_size=n))) for n in (1, 7, 52)]
    assert len({each.accuracy for each in evaluations}) == 1
    assert [each.loss for each in evaluations] == pytest.approx([evaluations[0].loss] * 3, rel=1e-5)


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
