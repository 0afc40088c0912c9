"""What a compiled model keeps between calls: `model.states`, a mapping by name."""

import collections.abc
import ctypes
import difflib

import numpy as np


class States(collections.abc.Mapping):
    """The states of a model: `states["w"]` is a copy of the value after the last call that succeeded,
    `states["w"] = array` replaces it. `dict(states)` saves all, `update` restores them, `reset` brings the
    initial values back. `infos` describes them as Model.inputs does inputs."""

    def __init__(self, model, infos, tensors):
        self._model = model
        self._tensors = tensors  # makes the structs of values
        self.infos = infos
        self._numbers = {info.name: i for i, info in enumerate(infos)}

    def __iter__(self):
        return iter(self._numbers)

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, name):
        i = self._number(name)
        with self._model._alone() as context:
            tensor, extents = self._tensor(i)
            self._check(context, self._model._functions.get_state(context, i, ctypes.addressof(tensor)))
            info = self.infos[i]
            shape = tuple(extents[: len(info.shape)])
            size = info.dtype.itemsize * int(np.prod(shape, dtype="int64"))
            if size == 0:
                return np.empty(shape, info.dtype)
            memory = (ctypes.c_char * size).from_address(tensor.data)
            return np.frombuffer(memory, info.dtype).reshape(shape).copy()

    def __setitem__(self, name, value):
        i = self._number(name)
        array = self._model._convert_to(self.infos[i], "state", value)
        self._model._check_shape_of(self.infos[i], "state", array)
        with self._model._alone() as context:
            self._set(context, i, array)

    def _set(self, context, i, array):
        tensor, extents = self._tensor(i)
        extents[: array.ndim] = array.shape
        tensor.data, tensor.capacity = array.ctypes.data, array.nbytes
        self._check(context, self._model._functions.set_state(context, i, ctypes.addressof(tensor)))

    def update(self, values):
        """Sets several states."""
        for name in values:
            self._number(name)  # all names are right before any is set
        for name, value in values.items():
            self[name] = value

    def reset(self):
        """All states have their initial values again."""
        if self._numbers:
            with self._model._alone() as context:
                self._check(context, self._model._functions.reset_states(context))

    def __repr__(self):
        return f"<states {', '.join(map(repr, self.infos))}>"

    def _number(self, name):
        try:
            return self._numbers[name]
        except (KeyError, TypeError):
            near = difflib.get_close_matches(str(name), self._numbers, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            known = ", ".join(self._numbers) or "none"
            raise KeyError(f"no state '{name}'{hint} (states: {known})") from None

    def _tensor(self, i):
        tensors, _, extents = self._tensors([self.infos[i]])
        return tensors[0], extents[0]

    def _check(self, context, status):
        if status:
            self._model._fail(context, status)
