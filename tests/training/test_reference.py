"""Three training steps in double precision give the same numbers on every machine.

Digests of trained networks are promised for one machine only; these numbers tell whether another one
computes the same thing. They were made by this code. Where the loop is meant to change (and the step
is declared with `headstart version pretrain --bump`), renew them by those that the failing test shows.
"""

import pytest
import torch
from in_memory import CLASSES, CONVNET, SELECTION, VIT, Double, network, training

from headstart.params.models import Model
from headstart.training.loop import fit

SGD = {"name": "sgd", "weight_decay": 0.01}
ADAMW = {"name": "adamw", "weight_decay": 0.01}
# Training loss before each of the three steps, and validation loss after each.
REFERENCE = {
    "convnet": [
        1.6788059227153567,
        1.4766308538106574,
        1.4082367175794275,
        1.5425660830483028,
        1.531569760690748,
        1.5233083585593103,
    ],
    "timm": [
        2.011130456960357,
        1.5487269682570823,
        1.4973408179481438,
        1.554604057328992,
        1.5025131481555558,
        1.4920566665902493,
    ],
}


def images(number: int, first: int) -> Double:
    """Return images made of whole numbers, so that no library's random numbers matter."""
    values = torch.arange(first, first + number * 64) ** 2 % 251
    pixels = values.double().view(number, 1, 8, 8) / 251
    return Double(pixels, torch.arange(number) % CLASSES, batch_size=number)


@pytest.mark.parametrize(("model", "optimizer"), [(CONVNET, SGD), (VIT, ADAMW)])
def test_three_steps_in_double_precision_give_the_stored_losses(
    model: Model, optimizer: dict[str, object]
) -> None:
    net = network(model).double()
    with torch.no_grad():
        for parameter in net.parameters():
            wave = torch.arange(parameter.numel(), dtype=torch.float64).sin()
            parameter.copy_(0.3 * wave.view_as(parameter) + (parameter == 1))
    options = training(epochs=3, optimizer=optimizer, schedule={"name": "cosine"})
    data: tuple[Double, Double, None] = (images(16, 0), images(8, 5000), None)
    history = fit(net, *data, options, 0.01, 0, selection=SELECTION, test_epochs=()).history
    losses = [record.train_loss for record in history[1:]]
    losses += [record.validation_loss for record in history[1:]]
    assert losses == pytest.approx(REFERENCE[model.kind], rel=1e-9), f"now {losses}"
