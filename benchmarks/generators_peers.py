"""Training steps and sampling of our StyleGAN2 beside NVlabs' and lucidrains', in one run.

    python benchmarks/generators_peers.py NVLABS LUCIDRAINS PYTHON [SIZE [ROUNDS [sampling]]]

NVLABS and LUCIDRAINS are checkouts (NVlabs/stylegan2-ada-pytorch, lucidrains/stylegan2-pytorch),
PYTHON an interpreter with torch, scipy, requests, einops and kornia. Each implementation lives in a
process of its own, and one after the other takes one step a round, so that a busy machine slows all
alike. One thread, process CPU time, medians; batch 16; channels min(128, 2048 / resolution), at 64
pixels 128, 128, 128, 64, 32; z of 128. Without averaged weights and without reading pictures.

A training step is what each does by default, with augmentation: ours penalises (R1 and R2) every
eighth step, NVlabs' R1 every sixteenth (path length, its default every fourth, is given beside),
lucidrains' gradient penalty every fourth. Ours samples with onnxruntime, as `generate` does; with
`sampling`, nothing else is measured.
"""

import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH, LATENT, MOST, BASE = 16, 128, 128, 2048
AUGMENT = 0.3  # probability of each operation, of ours and NVlabs'; lucidrains' off by default
Steps = dict[str, Callable[[], Any]]


def our_config(size: int, **changes: Any) -> Any:
    """Return our settings: the defaults, but for the channels."""
    from counterproof.generators.config import StyleganConfig

    channels = tuple(min(MOST, BASE // side) for side in (4 << i for i in range(8)) if side < size)
    return StyleganConfig(
        size=size, latent=LATENT, base=BASE, most=MOST, critic_channels=channels, **changes
    )


def ours(size: int, precision: str) -> Steps:
    import contextlib
    import tempfile

    import torch

    from counterproof.generators.export import export_generator
    from counterproof.generators.sampling import ModelFacts, open_sampler
    from counterproof.generators.task import Batch
    from counterproof.generators.tasks import make_task

    task = make_task(our_config(size), torch.device("cpu"), 0)
    x = (torch.rand(BATCH, 3, size, size) * 2 - 1).contiguous(memory_format=torch.channels_last)
    rng = torch.Generator().manual_seed(0)
    context: Any = contextlib.nullcontext
    if precision == "bfloat16":
        context = lambda: torch.autocast("cpu", dtype=torch.bfloat16)  # noqa: E731

    def step(number: int) -> None:
        task.numbers["chance"] = AUGMENT
        task.step(Batch(x, x.new_zeros(BATCH, 0), rng, number, 0.0), context)

    steps: Steps = {"main": lambda: step(1), "penalty": lambda: step(8)}
    if precision == "float32":
        path = Path(tempfile.mkdtemp()) / "made.onnx"
        facts = ModelFacts(family="stylegan", latent=LATENT, depth=task.nets["main"].depth)
        export_generator(task.nets["main"], None, path, facts)
        task.nets["main"].train()
        sampler = open_sampler(str(path))
        steps |= {f"sample {n}": lambda n=n: sampler.sample(n, 0) for n in (1, 16)}
    return steps


def nvlabs_nets(size: int, checkout: str) -> tuple[Any, Any, Any]:
    """Return NVlabs' generator, discriminator and augmentation (`bgc`, its default)."""
    sys.path.insert(0, checkout)
    from training.augment import AugmentPipe
    from training.networks import Discriminator, Generator

    widths = {"channel_base": BASE, "channel_max": MOST, "num_fp16_res": 0}
    g = Generator(LATENT, 0, LATENT, size, 3, {"num_layers": 2}, widths)
    d = Discriminator(0, size, 3, **widths, epilogue_kwargs={"mbstd_group_size": 4})
    pipe = AugmentPipe(
        xflip=1, rotate90=1, xint=1, scale=1, rotate=1, aniso=1, xfrac=1, brightness=1, contrast=1,
        lumaflip=1, hue=1, saturation=1,
    )  # fmt: skip
    return g, d, pipe.train()


def nvlabs(size: int, checkout: str) -> Steps:
    import torch

    g, d, pipe = nvlabs_nets(size, checkout)
    from training.loss import StyleGAN2Loss

    pipe.p.copy_(torch.as_tensor(AUGMENT))
    loss = StyleGAN2Loss(torch.device("cpu"), g.mapping, g.synthesis, d, pipe)
    x, c = torch.rand(BATCH, 3, size, size) * 2 - 1, torch.zeros(BATCH, 0)
    adam = {id(net): torch.optim.Adam(net.parameters(), 2e-3, (0.0, 0.99)) for net in (g, d)}
    g.requires_grad_(False)
    d.requires_grad_(False)

    def phase(name: str, gain: int = 1) -> None:
        net = g if name.startswith("G") else d
        net.requires_grad_(True)
        adam[id(net)].zero_grad(set_to_none=True)
        loss.accumulate_gradients(name, x, c, torch.randn(BATCH, LATENT), c, True, gain)
        net.requires_grad_(False)
        adam[id(net)].step()

    def sample(n: int) -> None:
        with torch.no_grad():
            g(torch.randn(n, LATENT), torch.zeros(n, 0), noise_mode="const")

    return {
        "main": lambda: (phase("Gmain"), phase("Dmain")),
        "penalty": lambda: phase("Dreg", 16),
        "path": lambda: phase("Greg", 4),
        **{f"sample {n}": lambda n=n: sample(n) for n in (1, 16)},
    }


def lucidrains_nets(size: int, checkout: str) -> tuple[Any, Any]:
    """Return lucidrains' module, and its networks with their optimisers."""
    import torch
    from torch import nn

    for name in ("fire", "aim", "torchvision", "vector_quantize_pytorch"):  # imported, not used
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision"].transforms = types.ModuleType("transforms")  # type: ignore[attr-defined]
    sys.modules["vector_quantize_pytorch"].VectorQuantize = None  # type: ignore[attr-defined]
    torch.cuda.is_available = lambda: True  # it refuses to be imported without
    nn.Module.cuda = lambda self, device=None: self  # type: ignore[method-assign, assignment]
    torch.Tensor.cuda = lambda self, device=None: self  # type: ignore[method-assign, assignment]
    sys.path.insert(0, checkout)
    package = types.ModuleType("stylegan2_pytorch")  # its own __init__ imports the command line
    package.__path__ = [str(Path(checkout) / "stylegan2_pytorch")]
    sys.modules["stylegan2_pytorch"] = package
    from stylegan2_pytorch import stylegan2_pytorch as theirs

    # its averaged generator forgets fmap_max and could not be filled; nothing here uses it
    theirs.StyleGAN2.reset_parameter_averaging = lambda self: None
    return theirs, theirs.StyleGAN2(size, LATENT, MOST, 8, BASE // size // 2)


def lucidrains_step(
    theirs: Any, made: Any, real: Any, draw: Callable[[], Any], penalised: bool
) -> None:
    """Update lucidrains' discriminator, then its generator, on a batch of 0 to 1."""
    made.D_opt.zero_grad()
    fake = draw().clone().detach().requires_grad_(penalised)
    real.requires_grad_(penalised)
    fake_score, _ = made.D_aug(fake)
    real_score, _ = made.D_aug(real)
    loss = theirs.hinge_loss(fake_score, real_score)
    if penalised:
        loss = loss + theirs.gradient_penalty(real, real_score)
        loss = loss + theirs.gradient_penalty(fake, fake_score)
    loss.backward()
    made.D_opt.step()
    made.G_opt.zero_grad()
    score, _ = made.D_aug(draw())
    theirs.gen_hinge_loss(score, None).backward()
    made.G_opt.step()


def lucidrains(size: int, checkout: str) -> Steps:
    import torch

    theirs, made = lucidrains_nets(size, checkout)
    layers, x = made.G.num_layers, torch.rand(BATCH, 3, size, size)

    def draw(n: int) -> Any:
        style = theirs.mixed_list(n, layers, LATENT, 0)
        styles = theirs.styles_def_to_tensor(theirs.latent_to_w(made.S, style))
        return made.G(styles, theirs.image_noise(n, size, 0))

    def step(penalised: bool) -> None:
        lucidrains_step(theirs, made, x.clone(), lambda: draw(BATCH), penalised)

    def sample(n: int) -> None:
        with torch.no_grad():
            draw(n)

    return {
        "main": lambda: step(False),
        "penalty": lambda: step(True),
        **{f"sample {n}": lambda n=n: sample(n) for n in (1, 16)},
    }


def work(name: str, size: int, checkout: str) -> None:
    """Do what stdin names, and print what it cost."""
    import torch

    torch.set_num_threads(1)
    kinds: dict[str, Callable[[], Steps]] = {
        "ours float32": lambda: ours(size, "float32"),
        "ours bfloat16": lambda: ours(size, "bfloat16"),
        "NVlabs": lambda: nvlabs(size, checkout),
        "lucidrains": lambda: lucidrains(size, checkout),
    }
    steps = kinds[name]()
    print(f"ready {','.join(steps)}", flush=True)
    for line in sys.stdin:
        start = time.process_time()
        steps[line.strip()]()
        print(f"took {time.process_time() - start}", flush=True)


# how often each part of a step runs, from the defaults of each
SHARES = {
    "ours float32": {"main": 7 / 8, "penalty": 1 / 8},
    "ours bfloat16": {"main": 7 / 8, "penalty": 1 / 8},
    "NVlabs": {"main": 1.0, "penalty": 1 / 16},
    "NVlabs with path length": {"main": 1.0, "penalty": 1 / 16, "path": 1 / 4},
    "lucidrains": {"main": 3 / 4, "penalty": 1 / 4},
}


def compare(checkouts: list[str], python: str, size: int, rounds: int, only_sampling: bool) -> None:
    where = {"ours float32": "", "ours bfloat16": "", "NVlabs": checkouts[0],
             "lucidrains": checkouts[1]}  # fmt: skip
    workers = {}
    for name, checkout in where.items():
        command = [python if checkout else sys.executable, __file__, "work", name, str(size)]
        workers[name] = subprocess.Popen(
            [*command, str(Path(checkout).resolve())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    parts = {name: _answer(worker, "ready").split(",") for name, worker in workers.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):  # the first one warms up
        for name, worker in workers.items():
            for part in parts[name]:
                if only_sampling and not part.startswith("sample"):
                    continue
                assert worker.stdin is not None
                worker.stdin.write(f"{part}\n")
                worker.stdin.flush()
                spent = float(_answer(worker, "took"))
                if number:
                    times.setdefault((name, part), []).append(spent)
    for worker in workers.values():
        worker.communicate()
    cost = {key: statistics.median(value) for key, value in times.items()}
    print(f"{size} px, batch {BATCH}, medians of {rounds}, CPU seconds of a part:")
    for (name, part), value in cost.items():
        print(f"  {name}, {part}: {value:.3f} ({min(times[name, part]):.3f} at least)")
    step = {} if only_sampling else {
        name: sum(share * cost[name.removesuffix(" with path length"), part]
                  for part, share in shares.items())
        for name, shares in SHARES.items()
    }  # fmt: skip
    for name, value in step.items():
        others = ", ".join(f"{other} {step[other] / value:.2f}" for other in step if other != name)
        print(f"{name}: {BATCH / value:.1f} pictures a CPU second; step of others ÷ own: {others}")
    for count in (1, 16):
        own = cost["ours float32", f"sample {count}"]
        ratios = ", ".join(
            f"{name} {cost[name, f'sample {count}'] / own:.2f}" for name in ("NVlabs", "lucidrains")
        )
        print(f"sampling {count}: {1e3 * own / count:.2f} ms a picture; others ÷ own: {ratios}")


def _answer(worker: "subprocess.Popen[str]", word: str) -> str:
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.startswith(word):
            return line.removeprefix(word).strip()
    raise SystemExit(f"a worker ended: {worker.args}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    elif len(sys.argv) in (4, 5, 6) or sys.argv[6:] == ["sampling"]:
        given = [int(value) for value in sys.argv[4:6]] + [64, 3][len(sys.argv[:6]) - 4 :]
        compare(sys.argv[1:3], sys.argv[3], given[0], given[1], sys.argv[6:] != [])
    else:
        sys.exit(__doc__)
