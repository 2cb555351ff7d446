"""The deployment files are consistent with each other, with the settings, and with the requirements."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from harness.containers import QDRANT_IMAGE
from harness.deployment import (
    BALANCER,
    COMPOSE,
    COMPOSE_TEXT,
    DEPLOY,
    DOCKERFILE,
    ENV_EXAMPLE,
    REPOSITORY,
    SERVICES,
    defaulted_variables,
    documented_settings,
    environment_of,
    package_of,
    required_variables,
)
from tools.version import current_version, named_versions
from vitrine_local.redis_server import RULES

OWN = sorted(name for name in SERVICES if package_of(name) is not None)
MEMBERS = ["embedder", "indexer", "search-api", "trainer"]
every_service = pytest.mark.parametrize("service", sorted(SERVICES))
every_own_service = pytest.mark.parametrize("service", OWN)


def test_only_the_search_api_is_published_and_by_default_on_the_loopback_address() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"search-api": ["${PUBLISH_ADDRESS:-127.0.0.1}:${PUBLISH_PORT:-8000}:8000"]}
    assert "network_mode" not in COMPOSE_TEXT


def test_only_the_search_api_and_the_trainer_have_an_outer_network() -> None:
    assert COMPOSE["networks"]["inner"] == {"internal": True}
    outward = {name for name, service in SERVICES.items() if "outward" in service["networks"]}
    assert outward == {"search-api", "trainer", "trainer-gpu"}
    assert all("inner" in service["networks"] for service in SERVICES.values())


@every_service
def test_every_service_has_a_health_check_limits_and_no_privileges(service: str) -> None:
    facts = SERVICES[service]
    assert {"test", "interval", "timeout", "retries", "start_period"} <= facts["healthcheck"].keys()
    assert re.fullmatch(r"\d+[mg]|\$\{\w+_MEMORY:-\d+g\}", facts["mem_limit"])
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", facts["user"])
    assert facts["cap_drop"] == ["ALL"]
    assert facts["security_opt"] == ["no-new-privileges:true"]
    assert facts["read_only"] is True
    assert facts["restart"] == "unless-stopped"
    assert facts["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "privileged" not in facts


@every_service
def test_every_image_is_pinned(service: str) -> None:
    image = SERVICES[service]["image"]
    if package_of(service) is None:
        assert re.search(r":v?\d+\.\d+\.\d+(-\w+)?(@sha256:[0-9a-f]{64})?$", image), image
    else:
        version = current_version()
        assert image == f"vitrine/{package_of(service)}:${{IMAGE_TAG:-{version}}}"


def test_everything_has_one_version() -> None:
    assert set().union(*named_versions().values()) == {current_version()}, "run `make version V=...`"
    assert all(len(versions) == 1 for versions in named_versions().values())


def test_the_deployed_qdrant_is_the_tested_version() -> None:
    assert SERVICES["qdrant"]["image"].removesuffix("-unprivileged") == QDRANT_IMAGE


def test_every_member_is_deployed() -> None:
    assert sorted({package_of(name) for name in OWN} - {None}, key=str) == MEMBERS


@every_own_service
def test_a_service_gets_only_settings_that_it_reads(service: str) -> None:
    settings = documented_settings()
    package = package_of(service)
    assert package is not None
    given = {name for name in environment_of(service) if name.startswith("VITRINE_")}
    assert given <= settings["Shared by all services"] | settings[package]


def test_every_setting_in_the_deployment_exists() -> None:
    known = set().union(*documented_settings().values())
    text = COMPOSE_TEXT + BALANCER + ENV_EXAMPLE + DOCKERFILE + (DEPLOY / "README.md").read_text()
    of_the_command_line = {"VITRINE_URL", "VITRINE_API_KEY"}
    assert set(re.findall(r"VITRINE_[A-Z_]+", text)) - of_the_command_line <= known


def test_required_variables_are_empty_in_the_example_except_the_profile() -> None:
    given = dict(re.findall(r"^(\w+)=(.*)$", ENV_EXAMPLE, re.MULTILINE))
    assert given.keys() == required_variables()
    assert {name: value for name, value in given.items() if value} == {"COMPOSE_PROFILES": "cpu"}


def test_optional_variables_are_in_the_example_with_their_default() -> None:
    assert dict(re.findall(r"^#(\w+)=(.*)$", ENV_EXAMPLE, re.MULTILINE)) == defaulted_variables()


def test_downloads_open_the_network_of_the_indexer_alone() -> None:
    overlay = yaml.safe_load((DEPLOY / "docker-compose.downloads.yml").read_text())["services"]
    assert overlay.keys() == {"indexer"}
    assert overlay["indexer"].keys() == {"environment", "networks"}
    assert overlay["indexer"]["environment"].keys() == {"VITRINE_DOWNLOAD_HOSTS"}
    assert "VITRINE_DOWNLOAD_HOSTS" in documented_settings()["indexer"]


def test_no_file_contains_a_secret() -> None:
    for service in SERVICES:
        for name, value in environment_of(service).items():
            if re.search(r"PASSWORD|KEY|AUTH|SECRET|TOKEN", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]*\}", value), f"{service}: {name}"
            without_variables = re.sub(r"\$\{\w+:\?[^}]*\}", "", value)
            assert not re.search(r":[^:/@]+@", without_variables), f"{service}: {name}"
    assert not re.search(r"\b[0-9a-f]{32,}\b", COMPOSE_TEXT + ENV_EXAMPLE + BALANCER)
    assert ".env\n" in (DEPLOY / ".gitignore").read_text()


def test_catalogues_and_weights_are_mounted_read_only() -> None:
    for service in OWN:
        for mount in SERVICES[service]["volumes"]:
            if "/catalogs" in mount or "/data/weights" in mount:
                assert mount.endswith(":ro"), f"{service}: {mount}"


def test_only_the_trainer_writes_releases() -> None:
    writers = {name for name in OWN if "releases:/data/releases" in SERVICES[name]["volumes"]}
    assert writers == {"trainer", "trainer-gpu"}


def test_redis_persists_acknowledged_writes_and_evicts_nothing() -> None:
    script = SERVICES["redis"]["entrypoint"][-1]
    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in script
    assert "user default on >$$REDISCLI_AUTH " in script


def test_clients_may_run_only_redis_commands_on_data() -> None:
    rules = re.search(r"user default on .*", SERVICES["redis"]["entrypoint"][-1])
    assert rules is not None
    assert rules[0].endswith(RULES), "as the local Redis"


@every_service
def test_a_hung_container_is_ended_by_its_health_check_and_restarted(service: str) -> None:
    facts = SERVICES[service]
    assert facts["healthcheck"]["test"][:3] in (
        ["CMD", "sh", "/opt/vitrine/healthcheck.sh"], ["CMD", "sh", "/healthcheck.sh"]
    )  # fmt: skip
    if package_of(service) is None:
        assert "./healthcheck.sh:/healthcheck.sh:ro" in facts["volumes"]
    else:
        assert "deploy/healthcheck.sh /opt/vitrine/" in DOCKERFILE
    assert facts["init"] is True, "the check ends all but the init"
    limit_s = int(re.findall(r"HEALTHCHECK_TIMEOUT_S:-(\d+)", (DEPLOY / "healthcheck.sh").read_text())[0])
    assert limit_s < int(facts["healthcheck"]["timeout"].removesuffix("s"))


def test_searches_have_cpu_priority_over_indexing_and_indexing_over_training() -> None:
    shares = {name: SERVICES[name].get("cpu_shares", 1024) for name in SERVICES}
    assert shares["trainer"] < shares["indexer"] < shares["search-api"] == shares["embedder"]


@pytest.mark.parametrize("service", ["embedder", "embedder-gpu", "indexer", "search-api"])
def test_the_embedder_and_its_clients_share_a_key(service: str) -> None:
    assert environment_of(service)["VITRINE_EMBEDDER_API_KEY"].startswith("${EMBEDDER_API_KEY:?")


@pytest.mark.parametrize("name", ["embedder", "trainer"])
def test_the_gpu_profile_differs_only_in_the_gpu(name: str) -> None:
    on_cpu, on_gpu = dict(SERVICES[name]), dict(SERVICES[f"{name}-gpu"])
    assert (on_cpu.pop("profiles"), on_gpu.pop("profiles")) == (["cpu"], ["gpu"])
    assert on_gpu.pop("deploy")["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    on_cpu.pop("networks"), on_gpu.pop("networks")
    assert on_cpu == on_gpu


def test_the_balancer_uses_the_name_and_port_of_the_embedders() -> None:
    assert re.search(r"^ +balance leastconn$", BALANCER, re.MULTILINE)
    port = environment_of("embedder")["VITRINE_EMBEDDER_PORT"]
    assert re.search(rf"^ +server-template \w+ \d+ embedder:{port}$", BALANCER, re.MULTILINE)
    assert SERVICES["embedder-gpu"]["networks"]["inner"]["aliases"] == ["embedder"]
    assert "option httpchk GET /readyz" in BALANCER


@pytest.mark.parametrize("service", ["indexer", "search-api"])
def test_the_balancer_listens_at_the_services_embedder_url(service: str) -> None:
    host, port = environment_of(service)["VITRINE_EMBEDDER_URL"].removeprefix("http://").split(":")
    assert host in SERVICES
    assert re.search(rf"^ +bind :{port}$", BALANCER, re.MULTILINE)


def test_the_balancers_health_check_uses_a_port_it_listens_on() -> None:
    test = SERVICES["balancer"]["healthcheck"]["test"][-1]
    assert "/dev/tcp/127.0.0.1/8404" in test
    assert "bind :8404" in BALANCER
    assert "GET /healthy " in test
    assert "monitor-uri /healthy" in BALANCER


def test_the_balancer_notices_a_stopping_embedder_before_it_stops_listening() -> None:
    found = re.search(r"check inter (\d+)s fastinter (\d+)s fall 2 ", BALANCER)
    assert found is not None
    noticed_s = int(found[1]) + int(found[2])
    assert noticed_s < float(environment_of("embedder")["VITRINE_DRAIN_DELAY_S"])


@pytest.mark.parametrize("service", ["embedder", "embedder-gpu", "search-api"])
def test_docker_waits_longer_than_a_service_needs_to_stop(service: str) -> None:
    environment = environment_of(service)
    longest_s = sum(float(environment.get(f"VITRINE_{name}_S", 0)) for name in ("DRAIN_DELAY", "SHUTDOWN_GRACE"))
    assert longest_s < int(SERVICES[service]["stop_grace_period"].removesuffix("s"))


@every_own_service
def test_each_service_has_the_right_health_check(service: str) -> None:
    kind, about = SERVICES[service]["healthcheck"]["test"][-2:]
    environment = environment_of(service)
    if kind == "http":
        assert about in (environment.get("VITRINE_API_PORT"), environment.get("VITRINE_EMBEDDER_PORT"))
    else:
        assert (kind, about) == ("worker", package_of(service))


@every_own_service
def test_the_user_is_the_one_in_the_image(service: str) -> None:
    assert f"USER {SERVICES[service]['user']}" in DOCKERFILE.splitlines()


def test_the_images_use_only_a_pinned_python_and_the_lock_file() -> None:
    assert re.search(r"^ARG BASE_IMAGE=python:3\.12\.\d+-slim-\w+", DOCKERFILE, re.MULTILINE)
    commands = re.split(r"\n|&&|\|\|", DOCKERFILE.replace("\\\n", " "))
    installs = [command for command in commands if "pip install" in command]
    assert len(installs) == 5
    # --no-deps: the wheels of this repository, which the build makes.
    assert [command for command in installs if "--require-hashes" not in command and "--no-deps" not in command] == []


def test_only_the_embedder_and_trainer_images_contain_torch() -> None:
    stages = {member: stage for stage, member in re.findall(r"^FROM (\w+) AS base-([\w-]+)$", DOCKERFILE, re.MULTILINE)}
    assert stages == {"embedder": "vision", "trainer": "vision", "indexer": "runtime", "search-api": "runtime"}


def test_the_build_context_contains_what_is_copied() -> None:
    allowed = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    for member in MEMBERS:
        package = member.replace("-", "_")
        assert f"services/{member}/{package}" in allowed
        assert f"COPY services/{member}/pyproject.toml" in DOCKERFILE
    assert {"requirements.lock", "pyproject.toml", "shared/vitrine"} <= allowed
    assert {"deploy/healthcheck.py", "deploy/healthcheck.sh"} <= allowed


def test_haproxy_accepts_its_configuration() -> None:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("there is no haproxy on this machine")
    done = subprocess.run([haproxy, "-c", "-f", str(DEPLOY / "haproxy.cfg")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_stand_ins_replace_only_third_party_images() -> None:
    overlay = yaml.safe_load((REPOSITORY / "tests/docker/docker-compose.standins.yml").read_text())["services"]
    assert overlay.keys() == SERVICES.keys() - set(OWN)
