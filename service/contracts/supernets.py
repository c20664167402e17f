"""Answers about supernets, their trainings, and networks of theirs that others published."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from service.contracts.fields import Arch
from service.contracts.latency import RUNTIME


class Capabilities(BaseModel):
    """What a supernet can be used for now."""

    search: bool = Field(description="It has an accuracy predictor.")
    deliver: bool = Field(
        description="It has weights, and images to recalibrate batch norms with: models are built."
    )
    verify: bool = Field(description="It has weights: finished models are compared with them.")


class NextStepRead(BaseModel):
    """A command of the machine of the service that makes a supernet good for more."""

    adds: list[Literal["search", "deliver", "verify"]]
    command: str
    needs: str = Field(description="What it takes besides a network; empty for nothing.")


class SupernetRead(BaseModel):
    """A supernet."""

    name: str
    sha256: str = Field(description="Of its weights; empty where none were imported.")
    space: dict[str, Any] = Field(description="Every choice that its networks can make.")
    architectures: int = Field(description="Exact number of different networks.")
    predictor: dict[str, Any] | None = Field(
        description="The accuracy predictor: what it was fitted on and its expected error."
    )
    card: dict[str, Any] = Field(description="Data, recipe, measured metrics, energy, licence.")
    capabilities: Capabilities | None = Field(
        None, description="What it can be used for now; null from older services."
    )
    next_steps: list[NextStepRead] = Field([], description="What adds the rest, in order.")


class PredictorPoint(BaseModel):
    """A measured network that the predictor was not fitted to."""

    measured: float = Field(
        description="Top-1 on held-out training images, moved to the test images, percent."
    )
    predicted: float
    split: Literal["test", "found"] = Field(
        description="Drawn at random, or found by a search with the predictor."
    )


class PredictorPoints(BaseModel):
    """Predicted against measured accuracy."""

    points: list[PredictorPoint] = Field(
        description="Empty where there is no predictor, or no network was kept out of its fit."
    )
    shift_points: float = Field(
        description="By which measured accuracies are moved to the test images, points."
    )


class ClassSamples(BaseModel):
    """Some images of a class."""

    index: int = Field(description="Of its logit.")
    name: str | None = Field(description="Null where nobody named the classes.")
    images: list[str] = Field(description="Small JPEG files as data URLs.")


class SupernetSamples(BaseModel):
    """Some of the validation images that a supernet's bundle holds."""

    items: list[ClassSamples] = Field(description="By class, at most 60 of them.")
    why_none: str | None = Field(None, description="Why there are no images.")


class SupernetSummary(BaseModel):
    """A supernet in a list."""

    name: str
    sha256: str
    space: str = Field(description="Name of its search space.")
    architectures: int
    searchable: bool = Field(description="Whether it has an accuracy predictor.")
    capabilities: Capabilities | None = Field(
        None, description="What it can be used for now; null from older services."
    )
    next_steps: list[NextStepRead] = Field([], description="What adds the rest, in order.")


class SupernetList(BaseModel):
    """The supernets of this installation."""

    items: list[SupernetSummary]


class TrainingSummary(BaseModel):
    """A training in a list."""

    name: str = Field(description="Of the recipe, and of the supernet that it becomes.")
    state: Literal["running", "stopped", "finished"] = Field(
        description="running: a process holds its lock; stopped: none does, and `supernets train "
        "--resume` goes on."
    )
    phase: str = Field(description="`predictor` while subnets are measured after the training.")
    step: int
    steps: int = Field(description="In all phases.")
    loss: float | None = Field(description="Of the latest step; null where it is no number.")
    images_per_s: float | None
    seconds_left: float | None = Field(
        description="In all phases, estimated from the latest steps; null where it is not known."
    )
    top1: dict[str, float] = Field(
        description="Percent, measured, of the subnets that were validated last, by name; empty "
        "before that."
    )
    updated_at: str


class TrainingSample(BaseModel):
    """Subnets validated after one step."""

    step: int
    seconds: float = Field(description="Spent on training until then.")
    phase: str
    loss: float | None = Field(description="Mean over the steps since the point before.")
    learning_rate: float
    top1: dict[str, float] = Field(description="Percent, measured, by name of the subnet.")


class TrainingRead(TrainingSummary):
    """A training with its curve."""

    points: list[TrainingSample] = Field(description="At most 200, evenly spread.")
    subnets: dict[str, dict[str, Any]] = Field(
        description="`arch` and `macs` of those that are validated, by name."
    )
    validation_images: int = Field(
        description="Held out of training, on which top1 is measured: its standard error is at "
        "most 50 over the root of that, in percentage points."
    )


class TrainingList(BaseModel):
    """The trainings of this installation: running ones first, then the latest."""

    items: list[TrainingSummary]


class LedgerRead(BaseModel):
    """Energy of networks for many devices, of one supernet and trained one by one.

    Each entry has energy_kwh, and provenance and method: how it is known.
    """

    once: dict[str, dict[str, Any]] = Field(description="training, predictor_data.")
    per_device: dict[str, dict[str, Any]] = Field(description="table, search_and_delivery.")
    one_more_device: dict[str, float] = Field(
        description="energy_kwh, and how many times less that is than others, where known."
    )
    alone: dict[str, Any] | None = Field(description="Training one network alone.")
    alone_search: dict[str, Any] | None = Field(
        description="Searching for one where every candidate is trained."
    )
    devices: int
    total: dict[str, float] = Field(
        description="shared_kwh, alone_kwh, times_less, and CO2e in kg where it is known."
    )
    break_even_devices: int | None = Field(description="From how many devices on sharing pays.")
    co2e_kg_per_kwh: float | None
    missing: list[str] = Field(description="What was never measured, and what measures it.")


class PublishedFigures(BaseModel):
    """What its authors say of a network."""

    origin: Literal["published"] = "published"
    latency_ms: float | None = Field(
        description="Of a forward pass of `batch` images on its device, rounded to whole "
        "milliseconds; null for a network that was searched by MACs."
    )
    batch: int | None
    conditions: dict[str, Any] = Field(description="Of the latency, as far as published.")
    top1: float = Field(
        description="Percent on ImageNet's validation images, after fine-tuning of this network "
        "alone."
    )
    finetune_epochs: int
    source: str


class SupernetRemoved(BaseModel):
    """What was removed of a supernet. Finished searches and their models stay."""

    name: str
    files: dict[str, str] = Field(description="sha256 of the files that were removed, by name.")
    freed_bytes: int
    training_kept: bool = Field(
        description="Whether the checkpoint of its training is still there, with which `supernets "
        "train --resume` makes it again."
    )
    still_known: bool = Field(
        description="Whether the name still stands for one: a shipped supernet that it hid, or a "
        "published one, of which nothing is imported now."
    )


class PredictedFigures(BaseModel):
    """What a search would have said of a network, which knows nothing of fine-tuning."""

    origin: Literal["predicted"] = "predicted"
    latency_ms: float | None = Field(
        description="Of a forward pass of `batch` images, from the device's latency table here; "
        "null without one."
    )
    latency_expected_error: float | None = Field(description="Fraction of the latency (mean).")
    batch: int | None
    runtime: str | None = Field(None, description=RUNTIME)
    latency_fitted: bool = Field(
        description="Whether that table was fitted to the published latency of this network, too: "
        "then it is no independent prediction."
    )
    top1: float | None = Field(
        description="Percent; null where the supernet here has no predictor that is valid at the "
        "network's resolution."
    )
    top1_expected_error: float | None = Field(description="Percentage points (RMSE).")
    top1_stands_for: str | None = Field(description="Which accuracy the predictor predicts.")


class NetworkSummary(BaseModel):
    """A published network in a list."""

    id: str
    supernet: str = Field(description="Of which it is a subnet; its weights are its own.")
    device: str | None = Field(
        description="Which it was searched for; null for one that was searched by MACs."
    )
    published: PublishedFigures
    predicted: PredictedFigures
    macs: int
    params: int
    arch: Arch


class NetworkFile(BaseModel):
    """A published file."""

    path: str
    blob: str = Field(description="Git's blob id of its content.")
    url: str


class NetworkRead(NetworkSummary):
    """A published network."""

    files: list[NetworkFile] = Field(
        description="net.config, run.config and the weights; `subnet-search networks export` "
        "downloads and proves them."
    )


class NetworkList(BaseModel):
    """Published networks, by device and latency."""

    items: list[NetworkSummary]
