"""What is done to a network between its two tasks."""

from collections.abc import Iterator

import pytest
import torch
from in_memory import CONVNET, VIT, WRN, network, planted, run, training
from torch import Tensor, nn

from headstart.networks.build import fresh_backbone
from headstart.networks.weights import state_digest
from headstart.params.models import Model
from headstart.training import TrainingError
from headstart.training.interventions import batch_norms, recalibrate, shrink_perturb

SHAPE = (10, 1, 8, 8)


def batches(*sizes: int) -> Iterator[tuple[Tensor, Tensor]]:
    data = planted(8, seed=1)
    yield from zip(data.images.split(list(sizes)), data.labels.split(list(sizes)), strict=True)


def first_maps(net: nn.Module) -> Tensor:
    """Return what the first norm sees of all images, [channels, values]."""
    seen: list[Tensor] = []
    hook = batch_norms(net)[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net.eval()(planted(8, seed=1).images)
    hook.remove()
    return seen[0].transpose(0, 1).flatten(1)


@pytest.mark.parametrize("model", [CONVNET, WRN, VIT])
def test_a_shrink_of_one_without_noise_changes_no_bit(model: Model) -> None:
    net = network(model)
    before = state_digest(net.state_dict())
    shrink_perturb(net.backbone, fresh_backbone(model, SHAPE, seed=1), 1.0, 0.0)
    assert state_digest(net.state_dict()) == before


@pytest.mark.parametrize("model", [CONVNET, VIT])
def test_a_shrink_of_zero_with_noise_of_one_is_the_fresh_network_with_the_old_head(
    model: Model,
) -> None:
    net, fresh = network(model), fresh_backbone(model, SHAPE, seed=1)
    head = net.head.weight.clone()
    shrink_perturb(net.backbone, fresh, 0.0, 1.0)
    for name, parameter in net.backbone.named_parameters():
        assert torch.equal(parameter, fresh.get_parameter(name))
    assert torch.equal(net.head.weight, head)


def test_parameters_become_the_weighted_sum_and_running_statistics_stay() -> None:
    net, fresh = network(), fresh_backbone(CONVNET, SHAPE, seed=1)
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    noise = {name: value.clone() for name, value in fresh.state_dict().items()}
    shrink_perturb(net.backbone, fresh, 0.4, 0.1)
    parameters = dict(net.backbone.named_parameters())
    for name, value in net.backbone.state_dict().items():
        moved = 0.4 * before[name] + 0.1 * noise[name]
        expected = moved if name in parameters else before[name]
        torch.testing.assert_close(value, expected)
    assert state_digest(fresh.state_dict()) == state_digest(noise)


def test_noise_comes_from_its_seed_alone_and_never_from_given_weights() -> None:
    given = CONVNET.model_copy(update={"weights": "a file that does not exist"})
    one, again, other = (
        state_digest(fresh_backbone(model, SHAPE, seed).state_dict())
        for model, seed in ((CONVNET, 1), (given, 1), (CONVNET, 2))
    )
    assert one == again != other


def test_noise_of_another_architecture_is_refused() -> None:
    with pytest.raises(TrainingError, match="parameters differ"):
        shrink_perturb(network().backbone, fresh_backbone(WRN, SHAPE, seed=1), 0.4, 0.1)


@pytest.mark.parametrize("sizes", [(32,), (16, 16), (13, 13, 6)])
def test_the_recalibrated_mean_is_that_over_all_images(sizes: tuple[int, ...]) -> None:
    net = network()
    recalibrate(net, batches(*sizes))
    maps = first_maps(net)
    torch.testing.assert_close(batch_norms(net)[0].running_mean, maps.mean(dim=1))


def test_the_recalibrated_variance_of_one_batch_is_that_of_its_images() -> None:
    net = network()
    recalibrate(net, batches(32))
    torch.testing.assert_close(batch_norms(net)[0].running_var, first_maps(net).var(dim=1))


def test_a_recalibrated_network_evaluates_its_only_batch_as_in_training() -> None:
    net, images = network(), planted(8, seed=1).images
    recalibrate(net, batches(32))
    with torch.no_grad():
        evaluated, trained = net.eval()(images), net.train()(images)
    # Running variances divide by n - 1, training divides by n.
    torch.testing.assert_close(evaluated, trained, rtol=0, atol=0.02)


def test_recalibration_leaves_parameters_modes_and_momenta_and_dropout_is_off() -> None:
    net = network(WRN)
    parameters = {name: value.clone() for name, value in net.named_parameters()}
    modes = [module.training for module in net.modules()]
    momenta = [norm.momentum for norm in batch_norms(net)]
    recalibrate(net, batches(16, 16))
    first = [norm.running_mean.clone() for norm in batch_norms(net)]
    recalibrate(net, batches(16, 16))
    assert all(torch.equal(value, parameters[name]) for name, value in net.named_parameters())
    assert [module.training for module in net.modules()] == modes
    assert [norm.momentum for norm in batch_norms(net)] == momenta
    for mean, norm in zip(first, batch_norms(net), strict=True):
        assert torch.equal(mean, norm.running_mean)


def test_a_network_without_batch_normalisation_cannot_be_recalibrated() -> None:
    with pytest.raises(TrainingError, match="no batch normalisation; leave it out"):
        recalibrate(network(VIT), batches(32))


def test_recalibration_in_the_loop_changes_evaluations_and_no_update() -> None:
    plain, recalibrated = network(), network()
    without = run(plain, training(3))
    with_it = run(recalibrated, training(3, recalibrate_batch_norm=True))
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, recalibrated.get_parameter(name))
    assert [record.train_loss for record in without.history[1:]] == [
        record.train_loss for record in with_it.history[1:]
    ]
    assert without.history[0].train_loss != with_it.history[0].train_loss
    assert without.history[-1].validation_loss != with_it.history[-1].validation_loss
    before = [norm.running_mean.clone() for norm in batch_norms(recalibrated)]
    recalibrate(recalibrated, planted(8, seed=1).epoch(0))
    for mean, norm in zip(before, batch_norms(recalibrated), strict=True):
        assert torch.equal(mean, norm.running_mean)
