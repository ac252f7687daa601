"""``fleetfit up``: run the orchestrator here."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import click

from orchestrator.cli.command import command
from orchestrator.cli.options import DEBUG, OUTPUT
from orchestrator.cli.output import print_facts, print_json_line, tell, tell_next
from orchestrator.cli.settings import current_settings
from orchestrator.config import DEFAULT_DEVICE_PORT, DEFAULT_PUBLIC_PORT, Config, default_data_dir
from orchestrator.data_directory import Endpoints

_EXAMPLE = """\
fleetfit up                                   # for this computer only
fleetfit up --host 0.0.0.0                    # for devices elsewhere too
fleetfit up --database postgresql://db/fleetfit --artifacts s3://models --ray-address ray://head:10001"""


@command("up", example=_EXAMPLE, options=(*OUTPUT, *DEBUG))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where the state lies. [env: FLEETFIT_DATA_DIR] [default: the user's data directory]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PUBLIC_PORT,
    show_default=True,
    help="Port for people and for machines that join; 0: a free one.",
)
@click.option(
    "--device-port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_DEVICE_PORT,
    show_default=True,
    help="Port for enrolled devices; 0: a free one.",
)
@click.option(
    "--advertise",
    multiple=True,
    metavar="NAME",
    help="Name or address by which others reach this machine. Can be given several times.",
)
@click.option("--database", default="", metavar="URL", help="[default: SQLite in the data directory]")
@click.option("--artifacts", default="", metavar="URL", help="[default: a folder in the data directory]")
@click.option("--ray-address", default=None, metavar="ADDRESS", help="An existing Ray. [default: its own]")
@click.option("--workers", type=click.IntRange(1), default=None, help="Compression tasks at once. [default: by cores]")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def up(
    data_dir: Path | None,
    host: str,
    port: int,
    device_port: int,
    advertise: tuple[str, ...],
    database: str,
    artifacts: str,
    ray_address: str | None,
    workers: int | None,
    log_level: str,
) -> None:
    """Runs the orchestrator in the foreground until Ctrl-C. Killed at any time, it goes on where it was."""
    config = Config(
        data_dir=(data_dir or default_data_dir()).absolute(),
        host=host,
        public_port=port,
        device_port=device_port,
        advertise=advertise,
        database_url=database,
        artifacts_url=artifacts,
        ray_address=ray_address,
        workers=workers,
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("orchestrator").setLevel(log_level.upper())
    # Only here: the database and the rest of the control plane take a second to load.
    from orchestrator.app import serve  # noqa: PLC0415

    settings = current_settings()

    def ready(endpoints: Endpoints) -> None:
        if settings.as_json:
            print_json_line(event="ready", data_dir=config.data_dir, endpoints=endpoints)
        else:
            _welcome(config, endpoints)

    asyncio.run(serve(config, ready=ready))
    tell("The orchestrator has stopped; 'fleetfit up' goes on where it was.")


def _welcome(config: Config, endpoints: Endpoints) -> None:
    print_facts(
        {
            "for people": endpoints.public_address,
            "for devices": endpoints.device_address,
            "state": str(config.data_dir),
            "database": config.database_url or "SQLite, in the state",
            "artifacts": config.artifacts_url or "a folder, in the state",
            "parallel work": config.ray_address or "a Ray of its own, started with the first search",
        }
    )
    sys.stdout.flush()
    elsewhere = "" if config.data_dir == default_data_dir() else f" --data-dir {config.data_dir}"
    tell_next(f"fleetfit join-token create{elsewhere}      # then paste its line on a device")
    tell_next(f"fleetfit init && fleetfit search run workload.py --device DEVICE --latency-p95 20ms{elsewhere}")
    tell("Ctrl-C stops it.")
