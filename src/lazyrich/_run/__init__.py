"""From experiments to records."""
