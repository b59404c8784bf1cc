"""io: layouts of the pages that front and back ends share (xen/include/public/io)."""
