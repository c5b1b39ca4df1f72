"""Forecasts of PyTorch modules by the forecast of lazyrich."""
