"""The sections of a report: each file turns part of what was found into blocks. None knows how blocks are marked up."""
