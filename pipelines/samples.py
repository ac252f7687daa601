"""Samples: training or validation data behind one interface, whatever form the workload gives it in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset, default_collate

from pipelines.blame import blamed, definition_line, user_code
from pipelines.workload import Workload, as_tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some samples, stacked."""

    inputs: tuple[Tensor, ...]
    targets: Any

    def __len__(self) -> int:
        return len(self.inputs[0])


class Samples:
    """Data with a length, from which any samples can be fetched by their numbers.

    Args:
        workload: Whose data it is, for blame.
        method: ``train_data`` or ``validation_data``: what to call for it.

    Raises:
        WorkloadError: The method raised, or returned neither a pair of tensors nor a map-style dataset with samples.
    """

    def __init__(self, workload: Workload, method: str) -> None:
        self._workload = workload
        self._method = method
        with user_code(workload, f"{method}()", method=method):
            data = getattr(workload, method)()
        if isinstance(data, TensorDataset) and len(data.tensors) == 2:
            data = data.tensors
        self._tensors = data if isinstance(data, tuple | list) else None
        self._dataset: Any = None if self._tensors is not None else data
        self._length = self._measured_length()

    def __len__(self) -> int:
        return self._length

    def fetch(self, indices: Sequence[int]) -> Batch:
        """The samples of these numbers, stacked.

        Raises:
            WorkloadError: The dataset raised, or its items cannot be stacked.
        """
        if self._tensors is not None:
            chosen = torch.as_tensor(indices, dtype=torch.long)
            inputs, targets = self._tensors
            return Batch(inputs=tuple(tensor[chosen] for tensor in as_tuple(inputs)), targets=targets[chosen])
        with user_code(self._workload, f"an item of {self._method}()", method=self._method):
            inputs, targets = default_collate([self._dataset[index] for index in indices])
        return Batch(inputs=as_tuple(tuple(inputs) if isinstance(inputs, list) else inputs), targets=targets)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order."""
        for start in range(0, self._length, batch_size):
            yield self.fetch(range(start, min(start + batch_size, self._length)))

    def shuffled_batches(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in an order drawn from PyTorch's generator.

        A last batch of a single sample is left out where there are others: batch statistics of one are none.
        """
        order = torch.randperm(self._length).tolist()
        for start in range(0, self._length, batch_size):
            chosen = order[start : start + batch_size]
            if len(chosen) > 1 or start == 0:
                yield self.fetch(chosen)

    def spread(self, count: int) -> Batch:
        """At most ``count`` samples, evenly spread over the data, which may be sorted by class."""
        count = min(count, self._length)
        return self.fetch([index * self._length // count for index in range(count)])

    def _measured_length(self) -> int:
        kind = type(self._workload)
        line = definition_line(kind, self._method)
        hint = "return a pair of tensors (inputs, targets), or a torch Dataset with __len__ and __getitem__"
        if self._tensors is not None:
            length = self._pair_length(line, hint)
        elif isinstance(self._dataset, Tensor) or not (
            hasattr(self._dataset, "__len__") and hasattr(self._dataset, "__getitem__")
        ):
            message = f"{self._method}() returned a {type(self._dataset).__name__}, which holds no inputs with targets"
            raise blamed(kind, line, message, hint=hint)
        else:
            length = len(self._dataset)
        if length == 0:
            raise blamed(kind, line, f"{self._method}() returned no samples", hint=hint)
        return length

    def _pair_length(self, line: int, hint: str) -> int:
        kind = type(self._workload)
        pair: Any = self._tensors
        tensors = (*as_tuple(pair[0]), pair[1]) if len(pair) == 2 else ()
        if not tensors or not all(isinstance(tensor, Tensor) and tensor.ndim for tensor in tensors):
            raise blamed(
                kind, line, f"{self._method}() returned a {type(pair).__name__} that is no pair of tensors", hint=hint
            )
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) > 1:
            counts = " and ".join(str(length) for length in lengths)
            raise blamed(
                kind, line, f"{self._method}() returned tensors of {counts} rows; they must have as many", hint=hint
            )
        return lengths[0]
