import torch
from in_memory import SELECTION, VIT, Evaluation, network, planted, training

from headstart.networks.weights import state_digest
from headstart.training.evaluation import evaluate
from headstart.training.features import cached, cached_features, head_only
from headstart.training.loop import fit


def test_cached_features_are_those_of_the_backbone_in_evaluation_mode() -> None:
    net, batches = network().train(), Evaluation(planted(8, seed=1))
    cache = cached_features(net, batches)
    assert net.training
    net.eval()
    for (features, labels), (images, expected) in zip(cache, batches, strict=True):
        assert torch.equal(features, net.features(images))
        assert torch.equal(labels, expected)
        assert not features.requires_grad


def test_a_head_on_cached_features_is_the_network_on_images() -> None:
    net, batches = network(), Evaluation(planted(8, seed=1))
    assert evaluate(head_only(net), cached(net, batches)) == evaluate(net, batches)


def test_a_probe_trains_the_head_through_the_same_loop_and_leaves_the_backbone() -> None:
    net = network(VIT)
    backbone = state_digest(net.backbone.state_dict())
    head = state_digest(net.head.state_dict())
    train, test = cached(net, planted(40, seed=1)), cached(net, Evaluation(planted(10, seed=3)))
    assert (train.num_images, train.num_classes, train.steps) == (160, 4, 10)
    outcome = fit(
        head_only(net),
        train,
        test,
        test,
        training(epochs=10),
        0.1,
        0,
        selection=SELECTION,
        test_epochs=(),
    )
    assert state_digest(net.backbone.state_dict()) == backbone
    assert state_digest(net.head.state_dict()) != head
    assert outcome.history[-1].train_loss < outcome.history[0].train_loss
    assert set(outcome.best_state) == {"head.weight", "head.bias"}


def test_every_epoch_gives_every_feature_once_in_an_order_of_the_epoch() -> None:
    net, batches = network(), planted(9, seed=1)
    train = cached(net, batches)

    def order(epoch: int) -> list[float]:
        parts = cached(net, batches).epoch(epoch)
        return torch.cat([features for features, _ in parts])[:, 0].tolist()

    assert [len(labels) for _, labels in train.epoch(3)] == [16, 16, 4]
    assert sorted(order(0)) == sorted(order(1))
    assert order(1) == order(1) != order(2)
