"""What a scenario may set of ELABiP; the symbols are the proposal's."""

from dataclasses import dataclass

from node_image.parameters import parameter

WHOLE_VECTOR = ("none", "student")  # ways to share in which a vector of weights is mixed


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    kd: str = parameter(
        "student",
        "z_k: student (the readout), logits (probabilities on the task's public samples; the label counts sent with "
        "them tell each device's classes), stats (sums for one ridge regression), features (class prototypes), none "
        "(the whole model, mixed as FedAsync does: without distillation)",
        choices=("features", "logits", "none", "stats", "student"),
    )
    student: str = parameter(
        "readout",
        "student: which network is shared: readout (the last layer of the device's own), full (a narrower network "
        "beside it, which learns from the device's answers to its own samples; set beta, or devices teach and never "
        "learn)",
        choices=("full", "readout"),
    )
    student_width: float = parameter(
        0.5, "full: its width, as a share of the model's", unit="ratio", minimum=0.01, maximum=1.0
    )
    student_temperature: float = parameter(
        3.0,
        "full: tau of what it learns, softmax(W h / tau): above 1, also how wrong the wrong classes are",
        minimum=0.1,
    )
    bits: int = parameter(8, "bits of a number sent; 32: floats", minimum=2, maximum=32)
    agent: str = parameter(
        "pg", "chooses p_k: pg (policy gradient), q (Q-learning), fixed", choices=("fixed", "pg", "q")
    )
    plasticity: float = parameter(0.1, "p_k of the agent `fixed`", minimum=0.0, maximum=1.0)
    decay: float = parameter(1e-4, "lambda_d: decay of the readout's weights", minimum=0.0)
    beta: float = parameter(0.0, "student, none: weight of consistency with the prior", minimum=0.0, maximum=1.0)
    prior: str = parameter(
        "global",
        "what a device hears: global (the same for all), personal (mixed with its own last), none (an acknowledgement)",
        choices=("global", "none", "personal"),
    )
    personal_share: float = parameter(
        0.5, "personal: weight of the device's own", unit="ratio", minimum=0.0, maximum=1.0
    )
    critical_exchanges: int = parameter(
        2, "n_cp: the features are frozen after so many exchanges a device on average; 0: never trained", minimum=0
    )
    critical_steps: int = parameter(60, "S_cp: minibatches of feature learning before each of them", minimum=1)
    open_features: bool = parameter(
        False, "student: go on training the features, scaled by p_k, and share them with the readout (none always does)"
    )
    local_steps: int = parameter(20, "H: minibatches in a local phase", minimum=1)
    batch_size: int = parameter(32, "samples in a minibatch of the readout", minimum=1)
    eligibility: float = parameter(
        0.0,
        "gamma of e(t) = gamma e(t-1) + (1-gamma) h(t) over arriving samples; 0: h itself",
        minimum=0.0,
        maximum=0.99,
    )
    cache_samples: int = parameter(0, "newest samples whose features are kept; 0: all", minimum=0)
    mixing: float = parameter(0.6, "alpha: weight of a fresh update", unit="ratio", minimum=0.0, maximum=1.0)
    polynomial_a: float = parameter(0.5, "weight falls with staleness as (staleness + 1) ** -a", minimum=0.0)
    max_staleness: int = parameter(0, "updates older than so many versions are refused; 0: none is", minimum=0)
    send_every: int = parameter(1, "local phases from one update to the next", minimum=1)
    broadcast_every: int = parameter(0, "updates after which all hear the prior; 0: see window_s", minimum=0)
    window_s: float = parameter(
        0.0, "time after which all hear the prior; both 0: each update is answered at once", unit="s", minimum=0.0
    )
    max_offline_phases: int = parameter(
        10, "phases without hearing a prior after which p_k is the lowest rate", minimum=1
    )
    reply_within_s: float = parameter(5.0, "t_reply: wait for an answer; then learn on", unit="s", minimum=0.001)
    rejoin_after_s: float = parameter(20.0, "a device that waits to begin asks again", unit="s", minimum=0.001)
    temperature: float = parameter(0.5, "logits: T of the sharpening q^(1/T)", minimum=0.01)
    ridge: float = parameter(100.0, "stats: lambda of (A + lambda I)^-1 S", minimum=0.0)
    evaluate_every_s: float = parameter(5.0, "time between two evaluations", unit="s", minimum=0.001)
    checkpoint_every: int = parameter(10, "aggregations between two checkpoints of the coordinator", minimum=1)

    def __post_init__(self) -> None:
        if 16 < self.bits < 32:
            raise ValueError(f"bits: must be 2 to 16, or 32 (found {self.bits})")
        if self.kd not in WHOLE_VECTOR and (self.prior == "personal" or self.open_features):
            raise ValueError(f"kd {self.kd}: has no personal prior, and its features must be frozen")

        if self.student == "full" and self.kd != "student":
            raise ValueError(f"student full: is a way of kd student (found kd {self.kd})")

    @property
    def has_full_student(self) -> bool:
        """Whether what is shared is a network of its own, beside the device's."""
        return self.student == "full"

    @property
    def is_open(self) -> bool:
        """Whether features go on learning after the critical period, so that the whole model is shared."""
        return self.open_features or self.kd == "none"

    @property
    def is_windowed(self) -> bool:
        """Whether priors are broadcast, and updates not answered one by one."""
        return self.broadcast_every > 0 or self.window_s > 0

    def has_critical_period(self, head_start: int) -> bool:
        """Whether features are trained together at first; a model without weights below its head has none to train."""
        return self.critical_exchanges > 0 and head_start > 0
