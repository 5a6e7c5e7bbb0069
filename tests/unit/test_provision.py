"""The machines that others make for us: the Vagrantfile, cloud-init, and the script that both of them call."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
PROVISION = SCRIPTS / "provision.sh"


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="no vagrant here: apt-get install vagrant")
def test_vagrant_finds_nothing_wrong_with_the_vagrantfile(tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")}
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout


def test_the_vagrantfile_offers_three_providers_and_lets_the_script_do_the_work() -> None:
    text = (ROOT / "Vagrantfile").read_text()
    for provider in ("libvirt", "virtualbox", "qemu"):
        assert f"config.vm.provider :{provider} do" in text
    assert 'path: "scripts/provision.sh"' in text
    assert 'ENV.fetch("EDGEBED_BOX", "debian/bookworm64")' in text


def test_cloud_init_calls_the_same_script() -> None:
    text = (SCRIPTS / "cloud-init.yaml").read_text()
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    assert data["runcmd"][-1] == ["/opt/edgebed/scripts/provision.sh", "/opt/edgebed"]
    assert "/opt/edgebed" in data["runcmd"][0][-1]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here: apt-get install shellcheck")
def test_the_shell_scripts_have_no_known_mistakes() -> None:
    scripts = sorted(map(str, SCRIPTS.glob("*.sh")))
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["provision.sh", "vagrant_up.sh"])
def test_provisioning_without_root_says_so_and_does_nothing(name: str) -> None:
    somebody = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    with (SCRIPTS / name).open() as script:  # read by us: the other user may not see the checkout
        done = subprocess.run(["bash"], stdin=script, capture_output=True, text=True, cwd="/", **somebody)  # type: ignore[call-overload]  # mypy cannot match a dict with its keywords
    assert done.returncode == 3
    assert "needs root" in done.stderr
    assert "sudo" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the script does")
def test_mistakes_are_said_before_anything_is_installed(tmp_path: Path) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here")
    elsewhere = subprocess.run([PROVISION, tmp_path], capture_output=True, text=True)
    assert elsewhere.returncode == 3
    assert "is no checkout of Edgebed" in elsewhere.stderr
    nobody = subprocess.run([PROVISION, ROOT, "no-such-user"], capture_output=True, text=True)
    assert nobody.returncode == 3
    assert "there is no user no-such-user" in nobody.stderr
