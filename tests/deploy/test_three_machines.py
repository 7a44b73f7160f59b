"""The units of three machines without containers, made as the guide says."""

import re
import subprocess
from configparser import ConfigParser

from compose import PROJECT

from monitor.settings import load_settings

GUIDE = (PROJECT / "docs/guides/operations.md").read_text()


def test_the_guide_makes_a_unit_of_each_part_with_a_directory_and_a_port_of_its_own(tmp_path):
    [block] = re.findall(r"```sh\n(port=.*?)```", GUIDE, re.DOTALL)
    making = block.replace("/etc/systemd/system", str(tmp_path)).partition("systemctl")[0]
    subprocess.run(["sh", "-eu", "-c", making], cwd=PROJECT, check=True)
    found = {}
    for file in sorted(tmp_path.glob("handoff-*.service")):
        unit = ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str
        unit.read(file)
        service = unit["Service"]
        environment = dict(each.split("=") for each in service["Environment"].split())
        settings, problems = load_settings("handoff.yaml", None, environment, {})
        assert not [each for each in problems if each.severity == "error"]
        assert settings.data == f"/var/lib/{service['StateDirectory']}"
        found[service["ExecStart"]] = settings.http.port
    assert found == {f"/opt/handoff/bin/handoff {part}": port for part, port in
                     (("ingest", 8080), ("worker", 8081), ("notify", 8082))}  # fmt: skip
