#!/usr/bin/env python3
"""The peer of `bayes serve`: FastAPI in front of PyTorch, as its documentation shows it.

    MODEL=checkpoints/my-model THREADS=2 uvicorn --app-dir benches/peers serve_peer:app --port 8100

One text a request, the model in eval mode under `inference_mode`, in a thread of FastAPI's pool; probabilities and
entropy. It has no batching, queue or posterior: those are what its users would have to write.
"""

import os

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

FOLDER = os.environ["MODEL"]
torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
LENGTH = int(os.environ.get("MAX_LENGTH", "256"))

tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = AutoModelForSequenceClassification.from_pretrained(FOLDER, attn_implementation="sdpa").eval()
app = FastAPI()


class Request(BaseModel):
    text: str
    return_text: bool = True


@app.get("/livez")
def livez():
    return "ok"


@app.post("/predict")
def predict(request: Request):
    with torch.inference_mode():
        tokens = tokenizer(request.text, truncation=True, max_length=LENGTH, return_tensors="pt")
        probabilities = model(**tokens).logits[0].softmax(-1)
        entropy = -(probabilities * probabilities.log()).sum()
        label = int(probabilities.argmax())
    return {
        "label": model.config.id2label[label],
        "confidence": float(probabilities[label]),
        "uncertainty": float(entropy),
    }
