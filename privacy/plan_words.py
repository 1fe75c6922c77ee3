"""A plan in words, for the people who approve it: what is asked, what leaves, how often, at what cost."""

from __future__ import annotations

from privacy.budget import period_cost
from privacy.plan import (
    COUNT_NOISE,
    HOLDOUT,
    TRAIN,
    AnyEvent,
    ColumnIs,
    EventData,
    NoEvent,
    Plan,
    SumAtLeast,
    Task,
)


def task_words(task: Task, plan: Plan) -> str:
    """Returns what a label of 1 means."""
    match task:
        case NoEvent():
            return f"no '{task.event}' in the {task.days} days after the snapshot"
        case AnyEvent():
            return f"at least one '{task.event}' in the {task.days} days after the snapshot"
        case SumAtLeast():
            currency = plan.data.currency if isinstance(plan.data, EventData) else ""
            return (
                f"'{task.event}' worth at least {task.minimum:,.0f} {currency} "
                f"in the {task.days} days after the snapshot"
            )
        case ColumnIs():
            return f"column '{task.column}' is {task.value}"


def plan_words(plan: Plan) -> list[str]:
    """Returns the plan as sentences, one concern each."""
    return [_asked(plan), _who(plan), *_leaves(plan), _cost(plan), _limits(plan)]


def _asked(plan: Plan) -> str:
    tasks = "; ".join(f"{name}: {task_words(task, plan)}" for name, task in plan.tasks.items())
    inputs = len(plan.inputs.catalogue) or len(plan.inputs.columns)
    kind = "logistic regression" if plan.model.kind == "logistic" else f"a tanh layer of {plan.model.hidden}"
    return (
        f"For purpose '{plan.purpose}' of controller '{plan.controller}': predict {tasks}. "
        f"Model: {kind} over {inputs} inputs."
    )


def _who(plan: Plan) -> str:
    shares = ", ".join(
        f"{name} (about {share.public_size:,} people, weight {share.weight:g}"
        f"{'' if share.contributes else ', receives the model but contributes nobody'})"
        for name, share in plan.regions.items()
    )
    return (
        f"Regions: {shares}. Quorum {plan.federation.quorum}; "
        f"{plan.holdout_share:.0%} of people are held out by a keyed hash and never trained on."
    )


def _leaves(plan: Plan) -> list[str]:
    training, scale, last = plan.training, plan.normalisation, plan.evaluation
    once = (
        f"Leaves once: histograms of every numeric input ({scale.bins} public bins) as one noised vector, "
        f"noise multiplier {scale.noise_multiplier:g}. A noised count of people is drawn and stays at home."
    )
    rounds = (
        f"Leaves {training.rounds} times, at most {plan.most_attempts} with spare attempts: the change of "
        f"the model after {training.local_steps} DP-SGD steps (rate {training.sampling_rate:g}, clipping "
        f"norm {training.clipping_norm:g}, noise multiplier {training.noise_multiplier:g}), times the "
        f"region's public weight."
    )
    end = (
        f"Leaves once at the end: histograms of hold-out people's scores per task and label "
        f"({last.bins} bins, noise multiplier {last.noise_multiplier:g})."
    )
    return [once, rounds, end]


def _cost(plan: Plan) -> str:
    region = max(plan.regions, key=lambda name: plan.regions[name].contributes)
    train, holdout = (period_cost(plan, each, region) for each in (TRAIN, HOLDOUT))
    extra = plan.budget.retrainings_per_period
    return (
        f"Costs at worst, per data subject (add or remove one), at delta {plan.budget.delta:g}: epsilon "
        f"{train:.2f} for people trained on, {holdout:.2f} for people held out; "
        f"{plan.federation.spare_attempts} spare attempts and {extra} retrainings included. "
        f"Target {plan.budget.epsilon:g}."
    )


def _limits(plan: Plan) -> str:
    federation = plan.federation
    return (
        f"A round waits at most {federation.round_seconds:g} s, a hello {federation.hello_seconds:g} s. "
        f"A region with fewer than {federation.minimum_subjects} eligible people, or its own minimum, does "
        f"not take part; the noised count must exceed it by three deviations ({3 * COUNT_NOISE:g})."
    )
