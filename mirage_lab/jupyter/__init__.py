"""jupyter: the lab inside IPython and JupyterLab: `%load_ext mirage_lab`.

    load       what the extension registers             magics     %mirage %xl %xenstore %host %lab
    places     "cell 2, line 5" for files and lines     reporting  messages of the world, progress

The only room that prints.  Live widgets are not here yet: objects show as text with an SVG or HTML picture.
"""

from mirage_lab.jupyter.load import load

__all__ = ["load"]
