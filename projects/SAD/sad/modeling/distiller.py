"""The distiller: a student, a frozen teacher, and the terms by which one learns from the other."""

from collections.abc import Iterator

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from ..data.teacher_cache import TeacherCache
from ..losses.distillation import at_least_float32, foreground_count
from ..terms import TERMS
from ..terms.term import Outputs, Term
from .adapters import ADAPTERS
from .ask_teacher import ask_teacher
from .prepared_batch import PreparedBatch
from .teacher import check_pair, teacher_answer


@META_ARCH_REGISTRY.register()
class Distiller(nn.Module):
    """L = the student's detection losses on images with hard targets + each term's on images with
    soft targets (Eq. 8).

    `student` is Detectron2's own detector, and state_dict() is the student's: a checkpoint is a
    plain one. The teacher hangs outside the module tree, where parameters(), train(),
    DistributedDataParallel and the optimizer do not see it.
    """

    @configurable
    def __init__(
        self,
        *,
        student: nn.Module,
        adapter,
        terms: dict[str, Term],
        proposals: str = "student",
        loss_normalizers: str = "local",
        teacher_precision: str = "float32",
        teacher_scale: float = 1.0,
        cache: TeacherCache | None = None,
    ):
        """
        Args:
            student: a detector with `input_format`.
            adapter: the student's, see `sad.modeling.adapters`.
            terms: by their names in SAD.DISTILL.TERMS.
            proposals: "student", "teacher" or "union", see SAD.DISTILL.PROPOSALS.
            loss_normalizers: "local" or "global", see SOLVER.LOSS_NORMALIZERS.
            teacher_precision: see `sad.utils.precision`.
            teacher_scale: size of the teacher's image over the student's.
            cache: of the teacher's answers; None asks for all of them in each step.
        """
        super().__init__()
        self.student = student
        self.adapter = adapter
        self.terms = nn.ModuleDict(terms)
        self.proposals = proposals
        self.loss_normalizers = loss_normalizers
        self.teacher_precision = teacher_precision
        self.teacher_scale = teacher_scale
        self.cache = cache
        self.need = frozenset().union(*(term.need for term in terms.values()))
        self.attach_teacher(None)

    @classmethod
    def from_config(cls, cfg):
        name, distill = cfg.SAD.STUDENT.META_ARCHITECTURE, cfg.SAD.DISTILL
        return {
            "student": META_ARCH_REGISTRY.get(name)(cfg),
            "adapter": ADAPTERS[name],
            "terms": {x: TERMS[x](distill[x.upper()], cfg.SOLVER.MAX_ITER) for x in distill.TERMS},
            "proposals": distill.PROPOSALS,
            "loss_normalizers": cfg.SOLVER.LOSS_NORMALIZERS,
            "teacher_precision": cfg.SAD.TEACHER.PRECISION,
            "teacher_scale": cfg.SAD.TEACHER.INPUT_SCALE,
            "cache": TeacherCache.of(cfg),
        }

    @property
    def device(self) -> torch.device:
        return self.student.device

    def attach_teacher(self, teacher) -> None:
        """Hang in a frozen detector, see `sad.modeling.teacher.build_teacher`.

        Raises:
            UserError: it does not go together with the student.
        """
        if teacher is not None:
            check_pair(self.student, teacher, self.teacher_scale, self.need)
            for term in self.terms.values():
                term.attach(self.adapter, self.student, teacher)
        # Past nn.Module.__setattr__, which would make it a submodule.
        object.__setattr__(self, "teacher", teacher)

    def __getattr__(self, name: str):
        # Detectron2's checkpointer, among others, looks for the parts that state_dict() names.
        try:
            return super().__getattr__(name)
        except AttributeError:
            student = self._modules.get("student")
            if student is None or name not in student._modules:
                raise
            return getattr(student, name)

    def _apply(self, fn, *args, **kwargs):
        # .to(), .half(), .cuda() and so on reach the teacher too, train() and state_dict() do not.
        if self.teacher is not None:
            self.teacher._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def state_dict(self, *args, **kwargs):
        return self.student.state_dict(*args, **kwargs)

    def load_state_dict(self, *args, **kwargs):
        return self.student.load_state_dict(*args, **kwargs)

    def forward(self, batch: list[dict] | PreparedBatch):
        """As the student's; in training each dict also has `hard_targets` and `soft_targets`.

        Args:
            batch: in training also what `prepare` made of it, which DistributedDataParallel does
                not move to the device again; a list is a whole step.
        Returns:
            in training the student's own losses and loss_distill_<term>; else the detections of
            each image.
        """
        if not self.training:
            return self.student(batch)
        prepared = batch if isinstance(batch, PreparedBatch) else next(self.prepare([batch]))
        outputs = self.adapter.student_outputs(
            self.student, prepared.images, prepared.targets, prepared.shared(), self.proposals
        )
        if prepared.soft:
            targets = prepared.targets.select(prepared.soft)
            teacher_answer(
                self.teacher, prepared.teacher, targets, self.need, self.teacher_precision
            )
        with torch.autocast(self.device.type, enabled=False):
            return self.losses(prepared, outputs)

    def losses(self, prepared: PreparedBatch, outputs: Outputs) -> dict[str, Tensor]:
        """
        Args:
            prepared: used up, as the teacher's outputs take much memory.
            outputs: the student's.
        """
        factors = prepared.factors
        focal, distill = None, {}
        fast = next((name for name, term in self.terms.items() if term.fused), None)
        if fast:
            focal, distill[fast] = self.terms[fast].fused(
                outputs.logits,
                prepared.teacher and prepared.teacher.logits,
                prepared.targets.labels,
                prepared.targets.hard,
                prepared.soft,
                1 / prepared.normalizer,
                factors[fast] / prepared.divisors[fast],
                prepared.teacher and prepared.teacher.inside,
            )
        if len(self.terms) == len(distill):
            prepared.teacher = None  # not for backward: make room
        for kind in self.adapter.emits - {"features", "logits" if fast else ""}:
            setattr(outputs, kind, [at_least_float32(x) for x in getattr(outputs, kind)])
        losses = self.adapter.detection_losses(
            self.student, outputs, prepared.targets, prepared.foreground, prepared.normalizer, focal
        )
        for name, term in self.terms.items():
            if name not in distill:
                total = self._term_sum(term, prepared, outputs)
                distill[name] = factors[name] * total / prepared.divisors[name]
        return losses | {f"loss_distill_{name}": loss for name, loss in distill.items()}

    def _term_sum(self, term: Term, prepared: PreparedBatch, outputs: Outputs) -> Tensor:
        need = term.need if term.need_of_student is None else term.need_of_student
        if not prepared.soft:  # zero of the graph, see detection_losses
            levels = [level for kind in need for level in getattr(outputs, kind)]
            return sum(x.flatten()[:0].sum() for x in [*levels, *term.parameters()])
        student = outputs.select(prepared.soft, need).in_float32(need)
        teacher = prepared.teacher.in_float32(term.need)
        return term(student, teacher, prepared.targets.select(prepared.soft))

    @torch.no_grad()
    def prepare(self, batches: list[list[dict]]) -> Iterator[PreparedBatch]:
        """Targets and teacher outputs of a step's micro-batches, and what their losses are divided
        by.

        With `loss_normalizers` "global" the losses of all micro-batches and ranks are divided by
        one sum over all of them, so all are prepared at first. DistributedDataParallel averages
        over the ranks, so that sum is divided by their number. With "local" each is prepared when
        it is asked for.
        """
        if self.loss_normalizers == "local":
            for inputs in batches:
                batch, divisors = self._prepare(inputs)
                batch.normalizer = self.adapter.normalizer(
                    self.student, len(batch.targets.hard), batch.foreground, forwards=1
                )
                batch.divisors = {name: x.clamp_min(1) for name, x in divisors.items()}
                yield batch
            return
        step = [self._prepare(batch) for batch in batches]
        sums = torch.tensor(
            [[len(b.targets.hard), b.foreground, *divisors.values()] for b, divisors in step],
            dtype=torch.float64,
            device=self.device,
        ).sum(0)
        world_size = comm.get_world_size()
        if world_size > 1:
            torch.distributed.all_reduce(sums)
        hard_images, foreground, *divisors = sums.tolist()
        mean = self.adapter.normalizer(
            self.student, hard_images, foreground, forwards=world_size * len(step)
        )
        for batch, _ in step:
            batch.normalizer = mean / world_size
            shares = [max(divisor, 1) / world_size for divisor in divisors]
            batch.divisors = dict(zip(self.terms, shares, strict=True))
        yield from (batch for batch, _ in step)

    def _prepare(self, batch: list[dict]) -> tuple[PreparedBatch, dict[str, Tensor]]:
        """A batch, and what it adds to the divisor of each term."""
        images = self.student.preprocess_image(batch)
        padded_shape = images.tensor.shape[-2:]
        targets = self.adapter.targets(self.student, padded_shape, batch)
        # A GPU is waited for here, while it has nothing to do yet.
        foreground = int(foreground_count(targets.labels, targets.num_classes))
        iteration = get_event_storage().iter
        factors = {name: term.weight(iteration) for name, term in self.terms.items()}
        taught = any(factors.values())
        soft = [i for i, item in enumerate(batch) if item["soft_targets"] and taught]
        prepared = PreparedBatch(images, targets, foreground, factors, soft)
        if not soft:
            return prepared, {name: torch.zeros((), device=self.device) for name in self.terms}
        if self.teacher is None:
            raise RuntimeError("distillation is on but attach_teacher has not been called")
        prepared.teacher = outputs = ask_teacher(
            self.teacher,
            [batch[i] for i in soft],
            padded_shape,
            image_format=self.student.input_format,
            need=self.need if self.proposals == "student" else self.need | {"proposals"},
            precision=self.teacher_precision,
            scale=self.teacher_scale,
            cache=self.cache,
        )
        of_soft = targets.select(soft)
        return prepared, {x: term.divisor(outputs, of_soft) for x, term in self.terms.items()}
