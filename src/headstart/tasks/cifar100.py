"""The superclasses of CIFAR-100 (Krizhevsky 2009), and which of them are living things."""

from __future__ import annotations

_LIVING = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
}
_NON_LIVING = {
    "food_containers": "bottle bowl can cup plate",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}


def groups() -> dict[str, tuple[str, ...]]:
    """Return the 20 superclasses of five classes, `living` (65 classes) and `non_living` (35).

    The division into living and non-living things is that of the configurations behind arXiv
    2106.11174.
    """
    superclasses = {name: tuple(text.split()) for name, text in (_LIVING | _NON_LIVING).items()}
    living = tuple(each for name in _LIVING for each in superclasses[name])
    non_living = tuple(each for name in _NON_LIVING for each in superclasses[name])
    return superclasses | {"living": living, "non_living": non_living}
