"""views: what a person sees of a lab, tab by tab, as plain data; no widget and no front end is known here.

    kinds      what every view offers                 graph      the device graph, its states and counters
    boot       timeline, memory, event channels       stack      layers, connections, the state diagram, the lan's faults
    packets    rows, a frame's fields and its causes  xenstore   the tree
    dashboard  domains, lans, captures, forwards      transport  the clock: play, pause, step, reset
    cpu        registers, code, page tables           history    the commits of the store

A view has `snapshot` (data for the live widget), `words` and `picture` (what a saved notebook shows), `ACTIONS` (what its
buttons do, each with the line of Python a person would type) and `ASKS` (what it fetches on demand).
"""
