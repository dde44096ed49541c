"""How Sphinx builds the documentation: ``sphinx-build -W --keep-going -n docs site/html``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import sphinx_autosummary_accessors

import xpyramid

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "xpyramid"
author = copyright = "xpyramid developers"
version = release = xpyramid.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_argparse_cli",
    "sphinx_autosummary_accessors",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates", sphinx_autosummary_accessors.templates_path]
exclude_patterns = ["_build", "_templates", "**/.ipynb_checkpoints"]
nitpicky = True
nitpick_ignore_regex = [  # objects of other packages; the build needs no network
    (
        r"py:.*",
        r"(builtins|collections|dask|geopandas|numpy|os|pathlib|xarray|xr|zarr|numcodecs)\b.*",
    ),
]

# Pages and notebooks: each notebook is run, and an error or a line on stderr stops the build.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "warn"
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # of HoloViews, for pages that run
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a kernel says that on stderr

# The reference.
autosummary_generate = True
autodoc_typehints = "none"  # docstrings say them in words
autodoc_default_options = {"members": True, "member-order": "bysource"}
default_role = "autolink"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "xpyramid"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {page: [] for page in ("index", "tutorial", "comparison")}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

#: Classes that users are given, and do not make.
_GIVEN = {"Plan", "Plot", "Pyramid", "Pyramids"}

#: How docstrings begin the names of methods, and under which names those are in the reference.
_CALLED = {
    "xpyramid.accessor.ArrayAccessor.": "xarray.DataArray.pyramid.",
    "xpyramid.accessor.DatasetAccessor.": "xarray.Dataset.pyramid.",
    "ArrayAccessor.": "xarray.DataArray.pyramid.",
    "Plan.": "xpyramid.geometry.plan.Plan.",
}


def _of_methods(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element
) -> nodes.Element | None:
    """Resolve a reference to a method that has another name in the reference."""
    target = node.get("reftarget", "")
    for start, called in _CALLED.items():
        if target.startswith(start):
            domain = env.domains.python_domain
            name = called + target.removeprefix(start)
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, text)
    return None


def _not_made_by_hand(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returned: str
) -> tuple[str, str] | None:
    """Leave out what a class is made of that users do not make."""
    return ("", "") if what == "class" and name.rpartition(".")[2] in _GIVEN else None


def setup(app: Sphinx) -> None:
    """Add what is ours."""
    app.connect("autodoc-process-signature", _not_made_by_hand)
    app.connect("missing-reference", _of_methods)
