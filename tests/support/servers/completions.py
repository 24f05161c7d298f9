"""An OpenAI-compatible server on loopback that answers with a model held in this process, greedily.

    with Completions(model, tokenizer, ends) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)

It takes chats (rendered with the tokenizer's own template) and prompts as text or token ids, and
states log-probabilities if asked, with `echo` those of the prompt's tokens too. `faults` maps the
number of a request, from 0, to a status, and `refused` maps a text in a request to one. `knows` is
what a strict server takes: it refuses every other parameter by name. `disobeys` is a way in which
servers ignore what they are told: "samples" whatever the temperature, "penalizes" repetition as a
generation_config.json may say, "cuts answers" to half the limit, "cuts prompts" to their first
half, "says stop" whatever ended an answer, "has a window" of `window` tokens and keeps the end of
longer prompts.
`reshape` changes a whole completion before it is sent.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from eval.generation.parting import next_logprobs
from weekahead.models.decoding import SamplingParams, decode_ids


class Completions:
    def __init__(self, model, tokenizer, ends, faults=None, logprobs=True, **ways):
        self.model, self.tokenizer, self.ends = model, tokenizer, ends
        self.faults, self.logprobs = faults or {}, logprobs
        self.refused, self.knows = ways.get("refused", {}), ways.get("knows")
        self.disobeys, self.answers_as = ways.get("disobeys", ""), ways.get("answers_as", {})
        self.reshape, self.window = ways.get("reshape"), ways.get("window")
        self.asked = []
        self._one_at_a_time = threading.Lock()

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path, body):
        with self._one_at_a_time:
            fault = self.faults.get(len(self.asked))
            self.asked.append((path, body))
            for text, status in self.refused.items():
                fault = status if text in json.dumps(body) else fault
            for name in body if self.knows else ():
                if name not in self.knows:
                    return 400, {"error": {"message": f"Unknown parameter: '{name}'."}}
            if fault:
                return fault, {"error": {"message": f"fault {fault}"}}
            if "logprobs" in body and not self.logprobs:
                return 422, {"error": {"message": "no log-probabilities here"}}
            whole = self.completion(path == "/v1/chat/completions", body)
            return 200, self.reshape(whole) if self.reshape else whole

    def completion(self, chat, body):
        if chat:
            prompt = self.tokenizer.apply_chat_template(
                body["messages"], add_generation_prompt=True, return_dict=True
            )["input_ids"]
        else:
            prompt = (
                body["prompt"]
                if isinstance(body["prompt"], list)
                else self.tokenizer(body["prompt"])["input_ids"]
            )
        if self.disobeys == "cuts prompts":
            prompt = prompt[: len(prompt) // 2]
        if self.disobeys == "has a window":
            prompt = prompt[-self.window :]
        if body.get("echo") and "logprobs" in body:
            return self.echoed(prompt)
        ids, reason = self.answer_ids(prompt, body)
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        first = float(next_logprobs(self.model, prompt)[ids[0]])
        told = (
            {"content": [{"token": "", "logprob": first}]} if chat else {"token_logprobs": [first]}
        )
        return {
            "choices": [
                {
                    **(
                        {"message": {"role": "assistant", "content": text}}
                        if chat
                        else {"text": text}
                    ),
                    "finish_reason": reason,
                    "logprobs": told if "logprobs" in body else None,
                }
            ],
            "usage": {"prompt_tokens": len(prompt), "completion_tokens": len(ids)},
            **self.answers_as,
        }

    def echoed(self, prompt):
        """What vLLM states of a prompt's tokens and of the one that it writes."""
        with torch.inference_mode():
            logs = self.model(input_ids=torch.tensor([prompt])).logits[0].log_softmax(-1)
        whole = [*prompt, int(logs[-1].argmax())]
        values = [logs[place, token].item() for place, token in enumerate(whole[1:])]
        texts = [self.tokenizer.decode([token]) for token in whole]
        told = {"tokens": texts, "token_logprobs": [None, *values]}
        choice = {"text": "".join(texts), "finish_reason": "length", "logprobs": told}
        return {
            "choices": [choice],
            "usage": {"prompt_tokens": len(prompt), "completion_tokens": 1},
        }

    def answer_ids(self, prompt, body):
        limit = body["max_tokens"] // 2 if self.disobeys == "cuts answers" else body["max_tokens"]
        if self.disobeys == "penalizes":
            prompt_tensor = torch.tensor([prompt])
            output = self.model.generate(
                prompt_tensor, max_new_tokens=limit, do_sample=False, repetition_penalty=1.3
            )
            return output[0, len(prompt) :].tolist(), "length"
        temperature = 1.0 if self.disobeys == "samples" else body["temperature"]
        how = SamplingParams(limit, batch_size=1, temperature=temperature)
        ((ids, reason),) = decode_ids(self.model, self.tokenizer, [prompt], self.ends, how)
        return ids, "stop" if self.disobeys == "says stop" else reason


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, reply = server.answer(self.path, body)
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("retry-after-ms", "1")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words):
            pass

    return Handler
