"""The patch embedding of a vision tower as the matrix product that it is.

Qwen-VL's is a `torch.nn.Conv3d` whose kernel is a whole patch and whose input holds one patch a
row: each output is one dot product. A convolution takes longer for that than a product: on a CPU
three times as long (`python benchmarks/patch_projection.py`).

Shapes: N patches, C channels, T frames, P px, h hidden size.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PatchProjection", "project_by_product"]


class PatchProjection(nn.Conv3d):
    """A `Conv3d` with the same weights and names, quick where the kernel covers its input."""

    def forward(self, input: Tensor) -> Tensor:
        """[N,C,T,P,P] -> [N,h,1,1,1]; other inputs as `Conv3d` does it."""
        if input.dim() != 5 or tuple(input.shape[2:]) != self.kernel_size:
            return super().forward(input)
        product = F.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return product[:, :, None, None, None]


def project_by_product(model: nn.Module) -> None:
    """Have the patch embeddings of `model` use the product, in place; its weights stay its own."""
    for name, module in model.named_modules():
        if name.endswith("patch_embed.proj") and type(module) is nn.Conv3d:
            # Padding would give a kernel as large as its input more than one place.
            if module.groups == 1 and set(module.padding) == {0}:
                module.__class__ = PatchProjection
