"""tracing: events with causes, captures of frames, and the files they are saved to.

Theory of operation.  Everything a learner may want to see is an event with a stable name and documented fields
(`recorder`).  Emission is guarded by one flag per kind.  An event's cause is the id of the event that was being handled,
kept in the timer, event-channel bit or frame that leads on: `Recorder.causes` walks it back.  Frames are kept apart, in
bounded captures (`capture`), and leave as pcapng (`pcapng`), which tshark and Wireshark read; `savefile` reads the files
of others.

Reading order: recorder, capture, pcapng, savefile, svg, png.
"""

from mirage_lab.tracing.recorder import Event, Kind, Recorder

__all__ = ["Event", "Kind", "Recorder"]
