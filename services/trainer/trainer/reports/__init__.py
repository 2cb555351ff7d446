"""Reports as files. They are written from plain data: nothing here computes a measure."""
