"""The local page that shows and starts runs."""
