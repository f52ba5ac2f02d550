"""Read the text in a picture (PP-OCR on onnxruntime): bytes in, structured data out.

`picture` draws a page, `read` reads it back, so there is something to try it on.

    stoker deploy examples/04_ocr.py
    curl -H "Authorization: Bearer $STOKER_TOKEN" $STOKER_URL/f/picture -d '{"text": "Shovel coal"}' -o page.png
    curl -H "Authorization: Bearer $STOKER_TOKEN" -H "Content-Type: image/png" \
         $STOKER_URL/f/read --data-binary @page.png
"""

from __future__ import annotations

import stoker

environment = stoker.Environment(
    python_packages=["rapidocr==3.10.0", "onnxruntime", "pillow"],
    preload=["numpy", "cv2", "onnxruntime", "rapidocr"],
)


@stoker.function(environment=environment, scaling=stoker.Scaling(keep_alive_s=30))
def picture(text: str, size_px: int = 36) -> stoker.Response:
    """A white page with ``text`` on it, as a PNG."""
    import io

    from PIL import Image, ImageDraw, ImageFont

    lines = text.splitlines()
    page = Image.new("RGB", (24 * max(map(len, lines)) + 80, 60 * len(lines) + 80), "white")
    ImageDraw.Draw(page).multiline_text((40, 40), text, "black", ImageFont.load_default(size_px), spacing=24)
    out = io.BytesIO()
    page.save(out, "PNG")
    return stoker.Response(out.getvalue(), content_type="image/png")


@stoker.function(name="read", environment=environment, scaling=stoker.Scaling(max_replicas=1, keep_alive_s=60))
class Read:
    """Lines of text with their confidence and place."""

    @stoker.enter
    def load(self) -> None:
        """Load detector, classifier and recogniser."""
        from rapidocr import RapidOCR

        self.engine = RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1})

    @stoker.method
    def __call__(self, picture: bytes) -> list[dict[str, object]]:
        """One entry per line found."""
        found = self.engine(picture)
        if found.txts is None:
            return []
        return [
            {"text": text, "confidence": round(float(score), 3), "corners": box.tolist()}
            for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True)
        ]
