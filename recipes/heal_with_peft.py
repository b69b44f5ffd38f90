"""Heals a folder that `halfdepth prune` wrote by LoRA, with PEFT, on as many devices as `accelerate launch` gives it.

In: the pruned folder, texts. Out: an adapter in PEFT's files, which `halfdepth adopt` takes up. docs/beyond-one-machine.md has the commands.

    accelerate launch recipes/heal_with_peft.py PRUNED --text TRAIN.txt --valid HELD_OUT.txt -o ADAPTER
"""

import argparse

import torch
import torch.nn.functional as F
from accelerate import Accelerator, PartialState
from accelerate.utils import set_seed
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, get_cosine_schedule_with_warmup


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the pruned folder")
    parser.add_argument("--text", nargs="+", required=True, help="UTF-8 texts to learn from")
    parser.add_argument("--valid", nargs="+", default=[], help="held-out texts, to measure on before and after")
    parser.add_argument("-o", "--output", required=True, help="the adapter's folder")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--alpha", type=float, help="as large as the rank unless given, as in arXiv 2403.17887")
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--modules", nargs="+", default=["gate_proj", "up_proj", "down_proj"])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--rate", type=float, default=3e-4, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=16, help="sequences of a step, over all devices")
    parser.add_argument("--micro-batch", type=int, default=1, help="sequences that a device runs at once")
    parser.add_argument("--tokens", type=int, default=2048, help="predictions of a sequence")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def sequences(paths: list[str], tokenizer, tokens: int) -> list[torch.Tensor]:
    """Disjoint runs of the texts, each after the begin token."""
    begin = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id]
    runs = []
    for path in paths:
        ids = tokenizer(open(path, encoding="utf-8").read(), add_special_tokens=False, verbose=False).input_ids
        runs += [torch.tensor(begin + ids[at:at + tokens]) for at in range(0, len(ids) - tokens + 1, tokens)]
    if not runs:
        raise SystemExit(f"the texts have no run of {tokens} tokens; give longer ones, or a smaller --tokens")
    return runs


def nats(model, ids: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


@torch.no_grad()
def held_out(model, loader, accelerator: Accelerator) -> float:
    model.eval()
    sums = torch.zeros(2, device=accelerator.device)
    for ids in loader:
        # Each device's last batch may repeat sequences, to be as long as the others'; gather_for_metrics takes them out again.
        losses = accelerator.gather_for_metrics(torch.stack([nats(model, one[None]) for one in ids]))
        sums += torch.stack([losses.sum(), torch.tensor(float(len(losses)), device=accelerator.device)])
    model.train()
    return (sums[0] / sums[1]).item()


def main() -> None:
    args = arguments()
    set_seed(args.seed)
    accumulate = max(1, args.batch // (args.micro_batch * PartialState().num_processes))
    accelerator = Accelerator(gradient_accumulation_steps=accumulate)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype="auto")
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=args.rank, lora_alpha=args.alpha or args.rank,
                                             lora_dropout=args.dropout, target_modules=args.modules))
    train = DataLoader(sequences(args.text, tokenizer, args.tokens), batch_size=args.micro_batch, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=args.rate, weight_decay=0.0)
    # accelerate steps a schedule once for every process.
    world = accelerator.num_processes
    schedule = get_cosine_schedule_with_warmup(optimizer, args.warmup * world, args.steps * world)
    model, optimizer, train, schedule = accelerator.prepare(model, optimizer, train, schedule)
    valid = None
    if args.valid:
        valid = accelerator.prepare(DataLoader(sequences(args.valid, tokenizer, args.tokens), batch_size=args.micro_batch))
        accelerator.print(f"held out: {held_out(model, valid, accelerator):.4f} nats a token before")
    step, total = 0, torch.zeros((), device=accelerator.device)
    while step < args.steps:
        for ids in train:
            with accelerator.accumulate(model):
                loss = nats(model, ids)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            total += loss.detach() / accumulate
            if not accelerator.sync_gradients:
                continue
            step += 1
            if step % max(1, args.steps // 20) == 0:
                accelerator.print(f"step {step}: {accelerator.reduce(total, 'mean').item():.4f} nats a token of its batch")
            total.zero_()
            if step == args.steps:
                break
    if valid is not None:
        accelerator.print(f"held out: {held_out(model, valid, accelerator):.4f} nats a token after")
    # Of ZeRO's third stage each process holds a part: all of them gather.
    state = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        accelerator.unwrap_model(model).save_pretrained(args.output, state_dict=state)
    accelerator.end_training()


main()
