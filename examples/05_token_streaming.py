"""A small language model (SmolLM2-135M-Instruct) that answers token by token.

A generator streams: each `yield` reaches the caller while the next token is computed. Like the image classifier this
needs torch, so it runs in the interpreter that `make examples-env` makes; that also unpacks the model once.

    make examples-env
    .cache/examples-env/bin/stoker serve
    stoker deploy examples/05_token_streaming.py
    curl -N -H "Authorization: Bearer $STOKER_TOKEN" -H "Accept: text/event-stream" \
         $STOKER_URL/f/chat -d '{"prompt": "What is the capital of France?"}'
"""

from __future__ import annotations

from collections.abc import Iterator

import stoker


@stoker.function(
    name="chat",
    environment=stoker.Environment(preload=["torch", "transformers.models.llama.modeling_llama", "tokenizers"]),
    scaling=stoker.Scaling(max_replicas=1, keep_alive_s=60),
    memory_mib=2000,
)
class Chat:
    """Greedy answers, so the same prompt always gets the same words."""

    @stoker.enter
    def load(self) -> None:
        """Map the weights; the folder stands in the interpreter's own prefix."""
        import sys
        from pathlib import Path

        import torch
        from transformers import AutoTokenizer, LlamaForCausalLM

        folder = Path(sys.prefix) / "share/smollm2"
        if not folder.exists():
            raise FileNotFoundError(f"{folder} is missing; `make examples-env` makes it")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    @stoker.method
    def __call__(self, prompt: str, max_tokens: int = 48) -> Iterator[str]:
        """Pieces of the answer, as they come."""
        import torch

        talk = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
        )
        ids = self.tokenizer(talk, return_tensors="pt").input_ids
        cache, said, text = None, [], ""
        for _ in range(max_tokens):
            with torch.inference_mode():
                out = self.model(input_ids=ids, past_key_values=cache, use_cache=True)
            token = int(out.logits[0, -1].argmax())
            if token == self.tokenizer.eos_token_id:
                return
            said.append(token)
            whole = self.tokenizer.decode(said)
            if not whole.endswith("\N{REPLACEMENT CHARACTER}"):  # half a character: wait for the rest
                yield whole[len(text) :]
                text = whole
            cache, ids = out.past_key_values, torch.tensor([[token]])
