"""Trackers: the curves of runs for TensorBoard, Weights & Biases, MLflow and Trackio."""

from ._base import AbstractTracker as AbstractTracker
from .mlflow import MLflow as MLflow
from .tensorboard import TensorBoard as TensorBoard
from .trackio import Trackio as Trackio
from .wandb import WandB as WandB
