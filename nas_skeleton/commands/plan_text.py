"""What `search` says before it trains: the plan, and how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_skeleton.scheduling.campaign import Campaign
    from nas_skeleton.scheduling.forecast import Forecast
    from nas_skeleton.training.job import Job


def plan_text(campaign: Campaign, jobs: list[Job], forecast: Forecast | None) -> str:
    """The plan of a campaign of which `jobs` are left, a line for each thing."""
    from nas_skeleton.commands.progress import duration
    from nas_skeleton.spaces.recipe import Recipe

    arguments, means = campaign.run.arguments, campaign.means
    recipe = campaign.space.card.recipe(arguments.recipe)
    size = (
        f"C={recipe.channels}, N={recipe.cells_per_stage}, " if isinstance(recipe, Recipe) else ""
    )
    split = campaign.dataset.split(arguments.protocol)
    clips = ", ".join(f"{len(split[part])} {part}" for part in ("train", "valid", "test"))
    progress = f"{len(campaign.own_jobs) - len(jobs)} done, {len(jobs)} to do"
    begun = sum(campaign.run.checkpoint_path(job.key).exists() for job in jobs)
    progress += f" ({begun} of them begun)" * (begun > 0)
    lines = [
        f"Space      {arguments.space}: {campaign.space.card.title}",
        f"Data       {arguments.dataset}, protocol {arguments.protocol}: {clips} clips"
        + f", modality {arguments.modality}" * bool(arguments.modality),
        f"Recipe     {arguments.recipe} ({arguments.recipe_hash}): {recipe.epochs} epochs, "
        f"{size}{recipe.frames} frames, batch {recipe.batch_size}, "
        f"learning rate {recipe.peak_learning_rate:g}"
        + f", weights averaged ({recipe.averaging}) from epoch {recipe.average_from} on"
        * bool(recipe.averaging),
        f"Plan       {_what(campaign)}" + f", {progress}" * (campaign.shard is None),
    ]
    if campaign.shard is not None:
        own = f"{len(campaign.own_jobs)} of {len(campaign.jobs)} trainings"
        lines.append(f"Shard      {campaign.shard}: {own}, {progress}")
    if jobs and forecast is not None:
        seconds = _seconds(campaign, jobs, forecast)
        where = f"{means.workers} {means.device} worker" + "s" * (means.workers > 1)
        where += f", engine {means.engine}"
        lines.append(f"Time       about {duration(seconds)} on {where} (from a short calibration)")
    lines.append(f"Results    {campaign.run.folder}")
    return "\n".join(lines)


def _what(campaign: Campaign) -> str:
    """What the plan consists of."""
    arguments = campaign.run.arguments
    seeds = f"{len(arguments.seeds)} seed" + "s" * (len(arguments.seeds) > 1)
    if campaign.adaptive is not None:
        epochs = ", ".join(map(str, campaign.adaptive.strategy.looks))
        looks = f", looked at after epochs {epochs} and the last" * bool(epochs)
        return (
            f"{arguments.strategy}, worth {arguments.trials} architectures x {seeds}, up to "
            f"{arguments.parallel} proposals under way{looks}; asked for by now: "
            f"{len(campaign.jobs)} trainings"
        )
    archs = len({job.arch_index for job in campaign.jobs})
    which = arguments.strategy if arguments.archs is None else "as listed"
    return f"{archs} architectures ({which}) x {seeds} = {len(campaign.jobs)} trainings"


def _seconds(campaign: Campaign, jobs: list[Job], forecast: Forecast) -> float:
    """How long what is left of the plan will take."""
    search, arguments, workers = campaign.adaptive, campaign.run.arguments, campaign.means.workers
    if search is None:
        return sum(forecast.seconds) / min(workers, len(jobs))
    budget = (arguments.trials or len(campaign.space)) * len(arguments.seeds)
    done = sum(map(search.trained_epochs, search.jobs)) / search.epochs
    mean = sum(forecast.seconds) / len(forecast.seconds)
    return mean * max(0.0, budget - done) / min(workers, arguments.parallel * len(arguments.seeds))
