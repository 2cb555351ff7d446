"""What is trained and what stays as it is. A frozen module keeps its parameters and, being in evaluation mode, the
statistics of its batch normalisation too, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vitrine.errors import ParameterInvalid


class Freezing:
    """The rule for one backbone: with `trainable` given all else is frozen, and `frozen` is so in any case.

    Names are those of the backbone's modules, e.g. `layer4` or `blocks.5`. Raises ParameterInvalid for a name that is
    none.
    """

    def __init__(
        self, backbone: nn.Module, *, trainable: Sequence[str] | None, frozen: Sequence[str], train_norm: bool
    ) -> None:
        modules = dict(backbone.named_modules())
        unknown = [name for name in (*(trainable or ()), *frozen) if name not in modules]
        if unknown:
            raise ParameterInvalid(f"the network has no module {unknown[0]!r} to train or to freeze")
        self._backbone = backbone
        self._trained = None if trainable is None else [modules[name] for name in trainable]
        self._frozen = [modules[name] for name in frozen]
        self._train_norm = train_norm
        if self._trained is not None:
            backbone.requires_grad_(False)
            for module in self._trained:
                module.requires_grad_(True)
        for module in self._frozen:
            module.requires_grad_(False)

    def train_mode(self) -> None:
        """Put what is trained into training mode and what is frozen into evaluation mode."""
        if self._trained is None:
            self._backbone.train()
        else:
            self._backbone.eval()
            for module in self._trained:
                module.train()
        for module in self._frozen:
            module.eval()
        if not self._train_norm:
            for module in self._backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
