import numpy as np

from headstart.params.datasets import Digits
from headstart.tasks.build import make_digits
from headstart.tasks.storage import stratified_test


def test_digits_are_all_of_scikit_learns_and_enlarged() -> None:
    contents = make_digits(Digits(kind="digits", size=16))
    assert contents.images.shape == (1797, 1, 16, 16)
    assert contents.images.max() == 255
    assert contents.classes == tuple("0123456789")
    assert 0.29 < contents.test.mean() < 0.31


def test_digits_at_their_own_size_are_the_original_pixels() -> None:
    from sklearn.datasets import load_digits

    contents = make_digits(Digits(kind="digits", size=8))
    np.testing.assert_array_equal(np.rint(contents.images[:, 0] * (16 / 255)), load_digits().images)


def test_a_drawn_test_part_has_the_same_share_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [10, 100, 50])
    test = stratified_test(labels, 0.2, seed=0)
    assert np.bincount(labels, test).tolist() == [2, 20, 10]


def test_a_drawn_test_part_leaves_images_on_both_sides() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2])
    for fraction in (0.01, 0.99):
        test = stratified_test(labels, fraction, seed=0)
        assert np.bincount(labels, test)[0] == 0, "a single image is trained on"
        assert set(np.bincount(labels, test)[1:]) <= {1, 2}
        assert set(np.bincount(labels, 1 - test)[1:]) <= {1, 2}
