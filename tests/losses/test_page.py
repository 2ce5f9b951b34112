"""docs/losses.md lists all terms, and its examples are valid objectives."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

from rcn_tf import losses
from rcn_tf.losses.objective import check_weights
from rcn_tf.losses.terms import TERMS

PAGE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_objectives(text):
    check_weights(yaml.safe_load(text)["loss"])


def test_every_term_and_parameter_is_on_the_page():
    assert len(EXAMPLES) == 3
    for name, term in TERMS.items():
        (row,) = [line for line in PAGE.splitlines() if re.match(rf"\|.*`{name}`.* \|", line)][:1]
        for parameter in set(term.parameters) - {"total"}:
            assert f"`{parameter}`" in row, (name, parameter)


def test_every_public_function_is_a_term_or_makes_one():
    functions = {term.function for term in TERMS.values()}
    helpers = {losses.avsm_kernels, losses.mind_descriptor}
    public = {getattr(losses, name) for name in losses.__all__}
    assert public - helpers == functions
    assert all(inspect.getdoc(function) for function in public)
