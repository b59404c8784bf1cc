"""displayfilter: which frames to show, in the words of Wireshark's display filter.

Theory of operation.  `words` cuts a text into words, each with its place.  `grammar` reads the words, knows the fields
(`fields`) and what can be compared with them (`values`), and returns one test of a frame, made of closures.  `places`
says where the layers of a frame lie; a field is then read straight from the bytes.  Fragments are not put together, as
by `tshark -o ip.defragment:FALSE`; only `streams` remembers frames, for `tcp.stream` and relative numbers.  Any bytes are a frame.

    DisplayFilter:  compile_filter("tcp.port == 80 and ip.src == 10.0.0.2").matches(n, t_ns, frame)

Sources: wireshark-filter(4), and what tshark 4.0 answers (tests/compat/test_displayfilter.py).
Reading order: places, fields, values, words, grammar, streams, compiled.
"""

from mirage_lab.tcpip.displayfilter.compiled import DisplayFilter, compile_filter
from mirage_lab.tcpip.displayfilter.words import FilterError

__all__ = ["DisplayFilter", "FilterError", "compile_filter"]
