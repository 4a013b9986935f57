"""A random model that a real engine serves within milliseconds, and that ends one known answer by itself."""

from pathlib import Path
from typing import Any

CONTEXT_TOKENS = 16_384  # so much that no call of the tests ends by itself before it is cancelled
ENDLESS = "list the tasks"
ENDING = "count to three"


def save_tiny_model(folder: Path, sharpness: float = 1.0) -> None:
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    make_model(tokenizer, sharpness).save_pretrained(folder)


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["<think>\n<Plan_1>\nplan the tasks, count them and list the results\n"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>")


def make_model(tokenizer: Any, sharpness: float = 1.0) -> Any:
    """A random model whose greedy answer to ENDING ends within forty tokens, and to others hardly ever.

    `sharpness` of its attention: with these weights it is so sharp that fp32 arithmetic is only good to 3e-4.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=128,
            max_position_embeddings=CONTEXT_TOKENS,
            initializer_range=0.5,  # so that a greedy answer varies
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    broken = [token for token in range(len(tokenizer)) if not tokenizer.decode([token]).isascii()]
    end = tokenizer.eos_token_id
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight *= sharpness
        model.lm_head.weight[[*broken, end]] = 0  # these are never the likeliest ...
        ending = tokenizer.encode(ENDING) + greedy(model, tokenizer, ENDING)
        states = model.model(torch.tensor([ending])).last_hidden_state[0, -36:]
        state = states[model.lm_head(states).amax(-1).argmin()]  # least sure of what comes next
        model.lm_head.weight[end] = state * 1.05 * model.lm_head(state).max() / state.dot(state)  # ... but there
    return model


def greedy(model: Any, tokenizer: Any, text: str) -> list[int]:
    import torch

    prompt = torch.tensor([tokenizer.encode(text)])
    return model.generate(prompt, max_new_tokens=40, do_sample=False)[0, prompt.shape[1] :].tolist()
