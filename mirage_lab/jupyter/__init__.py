"""jupyter: the lab inside IPython and JupyterLab: `%load_ext mirage_lab`.

    load       what the extension registers             magics     %mirage %xl %xenstore %host %lab
    guestcells %%c %%asm: cells that are guests               arguments  of magics, as a command line
    places     "cell 2, line 5" for files and lines     reporting  messages of the world, progress
    showing    what an object looks like: the live widget, words, a picture
    live       one worker per lab: runs what front ends ask for, tells them what they look at
    widget     the widget itself; its JavaScript is in static/, plain modules

The only room that prints, and the only one that knows a front end.  What the tabs show is plain data from `lab.views`.
"""

from mirage_lab.jupyter.load import load

__all__ = ["load"]
