"""The picture of one edge: what its axes say, in words and colours, also where there is nothing to see."""

from matplotlib.colors import to_hex
from matplotlib.text import Text

from lineage.detect.arrays import torch
from lineage.detect.explain import explain
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.plot import AGAINST, FOR, drawn
from lineage.detect.report import explanation_as_text
from tests.builders import sketch_of, three_generations

MODELS, _ = three_generations()
LONG = "laboratory/" + "a-very-long-name-of-a-checkpoint-" * 3 + "step-1000"


def explained(child, parent, *others, called=None):
    subjects = [
        Subject(f"{place}", sketch_of(MODELS[name], name), name=called or name)
        for place, name in enumerate((child, parent, *others))
    ]
    return explain(subjects[0], subjects[1], subjects[2:], Options(), torch.device("cpu"))


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def colours(axes):
    """Of the points."""
    return {to_hex(line.get_color()) for line in axes.get_lines() if line.get_marker() == "o"}


def test_axes_have_units_bounds_that_fit_and_lines_with_a_meaning():
    figure = drawn(explained("ba", "b", "a", "c", "d"))
    change, growth, inheritance = figure.axes
    assert change.get_xlim()[0] == 0 and "length of the change from b to ba" in texts(figure)
    assert growth.get_xlabel() == "growth coefficient γ ± 2 standard errors"
    assert "share ± 2 standard errors of what b learned since a that is still in ba" in texts(figure)
    for axes in (growth, inheritance):
        left, right = axes.get_xlim()
        assert left < 0 and 1 < right < 3, "no axis is longer than its points, 0 and 1 ask for"
    legend = [text.get_text() for text in growth.get_legend().get_texts()]
    assert "0: equal shares" in legend and "1: all change is the child's" in legend


def test_points_for_and_against_the_parent_differ_in_colour_and_say_who_came_first():
    right, wrong = drawn(explained("b", "a")), drawn(explained("a", "b"))
    assert FOR in colours(right.axes[1]) and AGAINST not in colours(right.axes[1])
    assert AGAINST in colours(wrong.axes[1]) and FOR not in colours(wrong.axes[1])
    assert "a came first" in texts(right) and "a came first" in texts(wrong)


def test_a_copy_has_words_in_place_of_empty_panels_and_no_empty_column():
    found = explained("b", "b", "a")
    figure = drawn(found)
    assert "no change: the values are equal" in texts(figure) and figure.axes[0].get_xlim() == (0.0, 1.0)
    said = explanation_as_text(found, ())
    assert said.startswith("b and b are equal in all ")
    alone = explanation_as_text(explained("b", "b"), ())
    assert alone.splitlines()[0].endswith("which of them is the copy is not in the weights")
    assert "inherited" not in alone


def test_long_names_fit_below_the_panels():
    figure = drawn(explained("b", "a", called=LONG))
    assert all(len(line) <= 60 for axes in figure.axes for line in axes.get_xlabel().split("\n"))
    assert LONG[-30:] in texts(figure)
