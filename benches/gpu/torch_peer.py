"""PyTorch's side of `run.py`: a BERT encoder of the same shape with random weights, eager and compiled.

One call measures one thing and prints a line of JSON:

    python torch_peer.py train '{"layers": 6, "width": 384, …, "bf16": true, "compile": false}'

The encoder is written out here, since only PyTorch is there. It has what BERT has: three tables, norms behind the blocks,
GELU, dropout of 0.1 in the same places, a pooler and a linear layer; attention is PyTorch's own fused one, without a mask,
since all texts are equally long. AdamW is the fused one, gradients are clipped at norm 1.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

WORDS, POSITIONS, CLASSES = 8000, 512, 2


class Layer(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width, eps=1e-12) for _ in range(2)])

    def forward(self, x):
        b, s, d = x.shape
        rate = self.dropout if self.training else 0.0
        q, k, v = self.qkv(x).view(b, s, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        mixed = self.output(mixed.transpose(1, 2).reshape(b, s, d))
        x = self.norms[0](x + functional.dropout(mixed, rate, self.training))
        out = self.outer(functional.gelu(self.inner(x)))
        return self.norms[1](x + functional.dropout(out, rate, self.training))


class Encoder(nn.Module):
    def __init__(self, layers, width, heads, dropout=0.1):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, width), nn.Embedding(POSITIONS, width)
        self.segments, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList([Layer(width, heads, dropout) for _ in range(layers)])
        self.pooler, self.head = nn.Linear(width, width), nn.Linear(width, CLASSES)
        self.dropout = dropout

    def forward(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.places(places) + self.segments(torch.zeros_like(ids)))
        x = functional.dropout(x, self.dropout, self.training)
        for layer in self.layers:
            x = layer(x)
        pooled = torch.tanh(self.pooler(x[:, 0]))
        return self.head(functional.dropout(pooled, self.dropout, self.training))


def made(options):
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    model = Encoder(options["layers"], options["width"], options["heads"]).to(options["device"])
    return model


def wait(options):
    if options["device"] == "cuda":
        torch.cuda.synchronize()


def ids(options, rows, tokens):
    return torch.randint(WORDS, (rows, tokens), device=options["device"])


def train(options):
    """Tokens a second over whole optimizer steps, and the most memory on the card that the allocator had reserved."""
    model = made(options).train()
    run = torch.compile(model) if options["compile"] else model
    fused = options["device"] == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=fused)
    rows, tokens = options["rows"], options["tokens"]

    def step():
        labels = torch.randint(CLASSES, (rows,), device=options["device"])
        with torch.autocast(options["device"], torch.bfloat16, enabled=options["bf16"]):
            loss = functional.cross_entropy(run(ids(options, rows, tokens)).float(), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(options["warmup"]):
        step()
    wait(options)
    began = time.perf_counter()
    for _ in range(options["steps"]):
        step()
    wait(options)
    spent = time.perf_counter() - began
    found = {"tokens/s": options["steps"] * rows * tokens / spent}
    if options["device"] == "cuda":
        found["MB"] = torch.cuda.max_memory_reserved() / 1e6
    return found


def inference(options):
    """Texts a second at a batch, and the median milliseconds of one short text."""
    model = made(options).eval()
    # Its best case: weights in bf16, not cast at each call; CUDA graphs for what is short.
    if options["bf16"]:
        model = model.bfloat16()
    found = {}
    with torch.inference_mode():
        run = torch.compile(model, mode="reduce-overhead") if options["compile"] else model
        one = ids(options, 1, options["short"])
        times = []
        for turn in range(options["warmup"] + options["runs"]):
            began = time.perf_counter()
            # Results are read, as whoever asks does.
            run(one).float().cpu()
            if turn >= options["warmup"]:
                times.append(1e3 * (time.perf_counter() - began))
        found["p50 ms"] = statistics.median(times)
        run = torch.compile(model) if options["compile"] else model
        batch = ids(options, options["rows"], options["tokens"])
        for _ in range(options["warmup"]):
            run(batch).float().cpu()
        began, texts = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < options["seconds"]:
            run(batch).float().cpu()
            texts += options["rows"]
        found["texts/s"] = texts / spent
    return found


if __name__ == "__main__":
    measured = {"train": train, "inference": inference}[sys.argv[1]](json.loads(sys.argv[2]))
    print(json.dumps(measured))
