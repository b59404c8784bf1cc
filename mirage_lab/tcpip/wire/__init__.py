"""wire: headers as bytes.  decode(buf) -> value or WireError; encode(value) -> bytes; nothing here knows a clock or a queue."""
