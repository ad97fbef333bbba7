"""The documentation as a site: `sphinx-build -W docs .store/site`, without a network."""

from sphinx.application import Sphinx

import headstart
import headstart.metrics
import headstart.networks
import headstart.statistics

project = "headstart"
author = "the headstart developers"
copyright = author
release = headstart.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "headstart"
html_copy_source = False
html_show_sphinx = False
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True

# Public names load when they are used; autodoc sees those that are there.
for module in (headstart.metrics, headstart.networks, headstart.statistics):
    vars(module).update({name: getattr(module, name) for name in module.__all__})


def setup(app: Sphinx) -> None:
    """Keep the bars of |x|, which reStructuredText takes for substitutions."""
    app.connect(
        "autodoc-process-docstring",
        lambda *event: event[-1].__setitem__(
            slice(None), [line.replace("|", r"\|") for line in event[-1]]
        ),
    )
