"""What people look at: the report, one row from raw trace to rounds, two annotators side by side."""
