"""Quality at equal pictures: our StyleGAN2 beside NVlabs' and lucidrains', on the same pictures.

    python benchmarks/generators_equal.py pictures DATA PICTURES.npy
    python benchmarks/generators_equal.py train ours DATA DIR [IMAGES]
    PYTHON benchmarks/generators_equal.py train nvlabs PICTURES.npy DIR [IMAGES] NVLABS
    PYTHON benchmarks/generators_equal.py train lucidrains PICTURES.npy DIR [IMAGES] LUCIDRAINS
    python benchmarks/generators_equal.py measure DATA DIR...

DATA is the folder of the training pictures, PICTURES.npy those of them that are trained on, NVLABS
and LUCIDRAINS are checkouts, PYTHON an interpreter as for generators_peers.py. A run goes on where
it was stopped, by a signal or otherwise, and is complete after 100,000 pictures, or IMAGES.

64 pixels, batch 16, no classes, channels as in generators_peers.py, one thread. Each trains with
the settings that it has by default: NVlabs those of `--cfg=auto --aug=ada --batch=16`, in float32,
with some of its arithmetic done in less time (after three steps of both from the same start,
weights differ by a ten-thousandth of their size);
lucidrains those of its `Trainer` (no augmentation), whose path length begins later than any run
here and is left out; ours those of `StyleganConfig`. All see pictures drawn with replacement, half
of them mirrored. Every 10,000 pictures a run leaves 3,047 samples, drawn without truncation from
averaged weights: NVlabs' and our average as each has it; lucidrains averages nothing before step
20,000 by default, so that it is given an average like ours, and is also measured without.
`measure` gives distances to the held-out pictures, with 95 % intervals for the choice of samples.
"""

import copy
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import random
from typing import Any

import numpy as np
from generators_peers import (
    BATCH,
    LATENT,
    lucidrains_nets,
    lucidrains_step,
    nvlabs_nets,
    our_config,
)

SIZE, IMAGES, EVERY, SAMPLES = 64, 100_000, 10_000, 3047
SAVE_EVERY_S = 120.0
SEED = 1_000_003  # a prime: step numbers of one seed

State = dict[str, Any]


def pictures(data: str, out: str) -> None:
    from counterproof.generators.dataset import load_pictures

    np.save(out, load_pictures(data, SIZE).train()[0])


def keep_samples(folder: Path, images: int, draw: Callable[[int], Any], kind: str = "") -> None:
    """Draw samples of -1 to 1, `(n, 3, H, W)`, and write them as bytes."""
    import torch

    torch.manual_seed(0)
    made = []
    with torch.no_grad():
        for start in range(0, SAMPLES, 64):
            x = draw(min(64, SAMPLES - start)).clamp(-1, 1)
            made.append(((x + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    path = folder / f"made{kind}-{images:06d}.npy"
    np.save(path.with_suffix(".part.npy"), np.concatenate(made))
    path.with_suffix(".part.npy").replace(path)


def follow(average: Any, net: Any, images: int) -> None:
    """Average weights with a half-life of 5 % of the pictures seen, at most 10,000."""
    import torch

    keep = 0.5 ** (BATCH / max(1.0, min(10_000, 0.05 * images)))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), net.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
        for held, fresh in zip(average.buffers(), net.buffers(), strict=True):
            held.copy_(fresh)


class Peer:
    """A training of someone else's.

    Attributes:
        kept: networks and optimisers by name, for checkpoints.
        numbers: what else a checkpoint holds.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.numbers: dict[str, float] = {}

    def step(self, x: Any, number: int) -> None:
        """Train on a batch of -1 to 1."""
        raise NotImplementedError

    def draws(self) -> Iterable[tuple[str, Callable[[int], Any]]]:
        """Return ways to draw a number of pictures of -1 to 1, by name."""
        raise NotImplementedError


class Nvlabs(Peer):
    """As training/training_loop.py goes with one process."""

    def __init__(self, checkout: str) -> None:
        super().__init__()
        import torch

        self.g, self.d, self.pipe = nvlabs_nets(SIZE, checkout)
        from training.loss import StyleGAN2Loss

        quicken_nvlabs()
        self.pipe.p.fill_(0)  # where its adaptation begins
        self.average = copy.deepcopy(self.g).eval().requires_grad_(False)
        # of --cfg=auto at 64 pixels: gamma 0.0002 · 64² / 32, rate 0.0025, average 10,000
        self.loss = StyleGAN2Loss(
            torch.device("cpu"), self.g.mapping, self.g.synthesis, self.d, self.pipe,
            r1_gamma=0.0002 * SIZE**2 / 32,
        )  # fmt: skip
        self.adam = {}
        for name, net, lazy in (("G", self.g, 4), ("D", self.d, 16)):
            share = lazy / (lazy + 1)
            betas = (0.0, 0.99**share)
            self.adam[name] = torch.optim.Adam(net.parameters(), 2.5e-3 * share, betas, eps=1e-8)
            net.requires_grad_(False)
        self.signs: list[float] = []
        self.kept = {"g": self.g, "d": self.d, "average": self.average, "pipe": self.pipe}
        self.kept |= {f"adam {name}": value for name, value in self.adam.items()}
        self.numbers = {"path": 0.0}

    def step(self, x: Any, number: int) -> None:
        """Go through the phases that are due."""
        import torch
        from torch_utils import training_stats

        self.loss.pl_mean.fill_(self.numbers["path"])
        labels, drawn = x.new_zeros(BATCH, 0), torch.randn(4, BATCH, LATENT)
        report = training_stats.report

        def notice(name: str, value: Any) -> Any:
            if name == "Loss/signs/real":
                self.signs.append(float(value.detach().mean()))
            return value

        training_stats.report = notice
        for z, (phase, every) in zip(
            drawn, {"Gmain": 1, "Greg": 4, "Dmain": 1, "Dreg": 16}.items(), strict=True
        ):
            if number % every:
                continue
            net, adam = (self.g, self.adam["G"]) if phase[0] == "G" else (self.d, self.adam["D"])
            adam.zero_grad(set_to_none=True)
            net.requires_grad_(True)
            self.loss.accumulate_gradients(phase, x, labels, z, labels, True, every)
            net.requires_grad_(False)
            adam.step()
        training_stats.report = report
        self.numbers["path"] = float(self.loss.pl_mean)
        follow(self.average, self.g, number * BATCH)
        if (number + 1) % 4 == 0:
            move = np.sign(np.mean(self.signs) - 0.6) * BATCH * 4 / 500_000
            self.pipe.p.copy_((self.pipe.p + move).clamp_min(0))
            self.signs.clear()

    def draws(self) -> Iterable[tuple[str, Callable[[int], Any]]]:
        """Draw from averaged weights."""
        import torch

        yield "", lambda n: self.average(torch.randn(n, LATENT), torch.zeros(n, 0))


def quicken_nvlabs() -> None:
    """Let NVlabs' code do the same arithmetic in less time, after its modules were found.

    Long filters of one dimension become sums of shifted pictures (a convolution of each new size
    costs much on a CPU), with a backward pass of the same kind; and demodulation is worked out
    without a weight for each picture of the batch.
    """
    import torch
    from torch.nn import functional
    from torch_utils.ops import conv2d_resample, upfirdn2d
    from training import networks

    class Filtered(torch.autograd.Function):
        """As `upfirdn2d`, for a filter of one dimension that is used along both axes."""

        @staticmethod
        def forward(ctx: Any, x: Any, f: Any, up: Any, down: Any, pad: Any, *how: Any) -> Any:
            ctx.given, ctx.size = (f, up, down, pad, *how), x.shape[2:]
            flip, gain = how
            taps = ((f if flip else f.flip(0)) * gain**0.5).tolist()
            spread = x.new_zeros(*x.shape[:2], x.shape[2] * up[1], x.shape[3] * up[0])
            spread[:, :, :: up[1], :: up[0]] = x
            x = functional.pad(spread, pad)
            for axis, step in ((3, down[0]), (2, down[1])):
                reach = (x.shape[axis] - len(taps)) // step * step + 1
                parts = [
                    x.narrow(axis, k, reach)[(slice(None),) * axis + (slice(None, None, step),)]
                    for k in range(len(taps))
                ]
                x = parts[0] * taps[0]
                for part, tap in zip(parts[1:], taps[1:], strict=True):
                    x.add_(part, alpha=tap)
            return x

        @staticmethod
        def backward(ctx: Any, *slopes: Any) -> Any:
            (f, up, down, pad, flip, gain), (height, width) = ctx.given, ctx.size
            rows, columns = slopes[0].shape[2:]
            back = [
                len(f) - pad[0] - 1,
                width * up[0] - columns * down[0] + pad[0] - up[0] + 1,
                len(f) - pad[2] - 1,
                height * up[1] - rows * down[1] + pad[2] - up[1] + 1,
            ]
            found = Filtered.apply(slopes[0], f, down, up, back, not flip, gain)
            return found, *[None] * 6

    theirs, modulated = upfirdn2d._upfirdn2d_ref, networks.modulated_conv2d

    def filtered(
        x: Any, f: Any, up: Any = 1, down: Any = 1, padding: Any = 0, flip_filter: bool = False,
        gain: float = 1,
    ) -> Any:  # fmt: skip
        if f is None or f.ndim != 1:
            return theirs(x, f, up, down, padding, flip_filter, gain)
        scales = [tuple(upfirdn2d._parse_scaling(scale)) for scale in (up, down)]
        pad = list(upfirdn2d._parse_padding(padding))
        return Filtered.apply(x, f, *scales, pad, flip_filter, gain)

    def convolved(
        x: Any, weight: Any, styles: Any, noise: Any = None, demodulate: bool = True,
        fused_modconv: bool = True, resample_filter: Any = None, **how: Any,
    ) -> Any:  # fmt: skip
        if fused_modconv or not demodulate:
            return modulated(
                x=x, weight=weight, styles=styles, noise=noise, demodulate=demodulate,
                fused_modconv=fused_modconv, resample_filter=resample_filter, **how,
            )  # fmt: skip
        scale = (styles.square() @ weight.square().sum((2, 3)).t() + 1e-8).rsqrt()
        x = x * styles[:, :, None, None]
        x = conv2d_resample.conv2d_resample(x=x, w=weight, f=resample_filter, **how)
        x = x * scale[:, :, None, None]
        return x if noise is None else x + noise

    upfirdn2d._upfirdn2d_ref, networks.modulated_conv2d = filtered, convolved


class Lucidrains(Peer):
    """As Trainer.train of stylegan2_pytorch.py goes before step 5,000."""

    def __init__(self, checkout: str) -> None:
        super().__init__()
        self.theirs, self.made = lucidrains_nets(SIZE, checkout)
        # of its Trainer: rate 2e-4, twice that for the discriminator; the class has others
        for adam, rate in ((self.made.G_opt, 2e-4), (self.made.D_opt, 4e-4)):
            adam.param_groups[0]["lr"] = rate
        self.average = copy.deepcopy([self.made.S, self.made.G])
        self.kept = {
            "s": self.made.S, "g": self.made.G, "d": self.made.D,
            "average s": self.average[0], "average g": self.average[1],
            "adam g": self.made.G_opt, "adam d": self.made.D_opt,
        }  # fmt: skip

    def _draw(self, nets: Any, n: int, mixed: bool) -> Any:
        theirs, layers = self.theirs, self.made.G.num_layers
        style = (theirs.mixed_list if mixed else theirs.noise_list)(n, layers, LATENT, 0)
        styles = theirs.styles_def_to_tensor(theirs.latent_to_w(nets[0], style))
        return nets[1](styles, theirs.image_noise(n, SIZE, 0))

    def step(self, x: Any, number: int) -> None:
        """Train the discriminator, then the generator."""
        mixed, nets = random() < 0.9, (self.made.S, self.made.G)
        lucidrains_step(
            self.theirs, self.made, (x + 1) / 2, lambda: self._draw(nets, BATCH, mixed),
            number % 4 == 0,
        )  # fmt: skip
        for mean, net in zip(self.average, nets, strict=True):
            follow(mean, net, number * BATCH)

    def draws(self) -> Iterable[tuple[str, Callable[[int], Any]]]:
        """Draw from averaged weights, and from those in training."""
        for kind, nets in (("", self.average), ("-live", (self.made.S, self.made.G))):
            yield kind, lambda n, nets=nets: self._draw(nets, n, False) * 2 - 1


def train_peer(peer: Peer, source: str, folder: Path, images: int) -> None:
    """Train until all pictures are seen or a signal comes; goes on from a checkpoint."""
    import torch

    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.append(number))
    pool = torch.from_numpy(np.load(source)).permute(0, 3, 1, 2).contiguous()
    path, number, spent = folder / "state.pt", 0, 0.0
    if path.is_file():
        state = torch.load(path, weights_only=True)
        number, spent, peer.numbers = state["step"], state["cpu_s"], state["numbers"]
        for name, kept in peer.kept.items():
            kept.load_state_dict(state[name])
    start = saved = time.process_time()
    while number * BATCH < images and not stop:
        seed(number)
        x = pool[torch.randint(len(pool), (BATCH,))].float() / 127.5 - 1
        x = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, x.flip(3), x)
        peer.step(x, number)
        number += 1
        seen, now = number * BATCH, time.process_time()
        due = seen % EVERY == 0 or seen >= images
        # NVlabs' augmentation looks at four steps together
        if due or stop or (now - saved > SAVE_EVERY_S and number % 4 == 0):
            spent, start, saved = spent + now - start, now, now
            print(f"{seen} pictures, {spent:.0f} CPU s", flush=True)
            state = {name: kept.state_dict() for name, kept in peer.kept.items()}
            state |= {"step": number, "cpu_s": spent, "numbers": peer.numbers}
            torch.save(state, path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)
        if due:
            for kind, draw in peer.draws():
                keep_samples(folder, seen, draw, kind)
            start = time.process_time()


def seed(step: int) -> None:
    """Seed every stream that a peer draws from, so that a run goes on as it would have."""
    import random as streams

    import torch

    torch.manual_seed(SEED + step)
    np.random.seed(SEED + step)
    streams.seed(SEED + step)


def train_ours(data: str, folder: Path, images: int) -> None:
    import torch

    from counterproof.generators.dataset import load_pictures
    from counterproof.generators.training import Run, train

    config, found = our_config(SIZE, images=images), load_pictures(data, SIZE)
    known = {int(path.stem.split("-")[1]) for path in folder.glob("made-*.npy")}
    for wanted in sorted({*range(EVERY, images, EVERY), images}):
        if wanted in known:
            continue
        net = train(config, found, Run(folder, images=wanted, save_every_s=SAVE_EVERY_S))

        def draw(n: int, net: Any = net) -> Any:
            return net(torch.randn(n, LATENT), torch.zeros(n, 0))

        keep_samples(folder, wanted, draw)
        print(f"{wanted} pictures", flush=True)


def measure(data: str, folders: list[str]) -> None:
    from counterproof.generators.dataset import load_pictures
    from counterproof.generators.metrics import (
        Reference,
        features,
        frechet_distance,
        precision_recall,
    )

    found = load_pictures(data, SIZE)
    held, labels = found.held_out()
    reference = Reference(found.train()[0], held, labels)
    rng = np.random.default_rng(0)
    print(f"floor {reference.frechet_floor:.2f}; {SAMPLES} samples, {len(held)} held out")
    for path in (path for folder in folders for path in sorted(Path(folder).glob("made*.npy"))):
        ours, _ = features(np.load(path))
        halves = [
            frechet_distance(ours[rng.choice(SAMPLES, SAMPLES // 2, replace=False)], reference.held)
            for _ in range(20)
        ]
        distance = frechet_distance(ours, reference.held)
        precision, recall = precision_recall(reference.held, ours)
        print(
            f"{path.parent.name} {path.stem}: {distance:.2f} ± "
            f"{1.96 * float(np.std(halves)) / np.sqrt(2):.2f}, precision {precision:.2f}, "
            f"recall {recall:.2f}",
            flush=True,
        )


def main(given: list[str]) -> None:
    peers: dict[str, Callable[[str], Peer]] = {"nvlabs": Nvlabs, "lucidrains": Lucidrains}
    match given:
        case ["pictures", data, out]:
            pictures(data, out)
        case ["measure", data, *folders] if folders:
            measure(data, folders)
        case ["train", name, source, out, *rest] if name in ("ours", *peers):
            import torch

            torch.set_num_threads(1)
            seed(0)
            folder, images = Path(out), IMAGES
            folder.mkdir(parents=True, exist_ok=True)
            if rest and rest[0].isdecimal():
                images = int(rest.pop(0))
            if name == "ours":
                train_ours(source, folder, images)
            else:
                train_peer(peers[name](str(Path(rest[0]).resolve())), source, folder, images)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
