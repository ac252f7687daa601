"""Trees of files that stand in for the /sys of boards with energy sensors."""

from __future__ import annotations

from pathlib import Path


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Writes each file below ``root``; the root itself."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def board_with_ina226(root: Path, *, power_uw: int = 3_250_000) -> Path:
    """A board with an INA226 in its supply, behind a temperature sensor that is no power meter."""
    return write_tree(
        root,
        {
            "sys/class/hwmon/hwmon0/name": "cpu_thermal",
            "sys/class/hwmon/hwmon0/temp1_input": "48000",
            "sys/class/hwmon/hwmon1/name": "ina226",
            "sys/class/hwmon/hwmon1/update_interval": "35",
            "sys/class/hwmon/hwmon1/power1_input": str(power_uw),
            "sys/class/hwmon/hwmon1/curr1_input": "650",
            "sys/class/hwmon/hwmon1/in1_input": "5000",
        },
    )


def jetson_with_ina3221(root: Path) -> Path:
    """An Orin module: the rail that feeds all others, two of those, and a second chip without a feeding rail."""
    first, second = "sys/class/hwmon/hwmon2", "sys/class/hwmon/hwmon3"
    return write_tree(
        root,
        {
            f"{first}/name": "ina3221",
            f"{first}/in1_label": "VDD_IN",
            f"{first}/in1_input": "5000",
            f"{first}/curr1_input": "1200",
            f"{first}/in2_label": "VDD_CPU_GPU_CV",
            f"{first}/in2_input": "5000",
            f"{first}/curr2_input": "300",
            f"{first}/in3_label": "VDD_SOC",
            f"{first}/in3_input": "5000",
            f"{first}/curr3_input": "400",
            f"{second}/name": "ina3221",
            f"{second}/in1_label": "GPU",
            f"{second}/in1_input": "19000",
            f"{second}/curr1_input": "100",
            f"{second}/in2_label": "CPU",
            f"{second}/in2_input": "19000",
            f"{second}/curr2_input": "50",
            f"{second}/in3_label": "NC",
            f"{second}/in3_input": "0",
            f"{second}/curr3_input": "9999",
        },
    )


def computer_with_rapl(root: Path, *, platform: bool = False) -> Path:
    """A processor package with its cores and memory, each a counter; the package's is about to wrap."""
    zones = {
        "intel-rapl:0": ("package-0", 262_143_000_000, 262_143_328_850),
        "intel-rapl:0:0": ("core", 10_000_000, 262_143_328_850),
        "intel-rapl:0:1": ("dram", 5_000_000, 65_712_999_613),
    }
    if platform:
        zones["intel-rapl:1"] = ("psys", 40_000_000, 262_143_328_850)
    files = {"sys/class/powercap/intel-rapl/enabled": "1"}
    for zone, (name, energy_uj, range_uj) in zones.items():
        files[f"sys/class/powercap/{zone}/name"] = name
        files[f"sys/class/powercap/{zone}/energy_uj"] = str(energy_uj)
        files[f"sys/class/powercap/{zone}/max_energy_range_uj"] = str(range_uj)
    return write_tree(root, files)
