import io
import json
from textwrap import dedent

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from routing import credentials, queries, services
from routing.config_export import render
from routing.config_file import parse
from routing.config_plan import plan
from routing.config_surroundings import surroundings
from routing.models import ModelPool, Provider, RoutingRevision
from routing.services import Actor, SwitchKind, SwitchTarget
from tests.routing.test_config_file import documents

pytestmark = pytest.mark.django_db

GOOD = """\
providers:
  one: {type: openai, api_key: "${ONE_KEY}"}
  two: {type: vllm, base_url: http://127.0.0.1:9000/v1}
aliases: {short: pool}
routing:
  defaults: {failover: {max_attempts: 2}}
  model_pools:
    pool:
      candidates:
        - {provider: one, model: m}
        - {provider: two, model: m, priority: 2}
"""


@pytest.fixture(autouse=True)
def environment(settings):
    settings.GATEWAY_SECRET_ENVIRONMENT = {"ONE_KEY": "sk-from-the-environment", "ROUTE": "v1"}
    settings.GATEWAY_ENCRYPTION_KEYS = []


@pytest.fixture
def run(tmp_path):
    """Import a text; gives what was printed and what was warned of."""

    def run(text, *flags):
        path = tmp_path / "gateway.yaml"
        path.write_text(dedent(text))
        out, err = io.StringIO(), io.StringIO()
        call_command("import_config", str(path), *flags, stdout=out, stderr=err)
        return out.getvalue().replace(str(path), "FILE"), err.getvalue()

    return run


def refused(run, text, *flags):
    with pytest.raises(CommandError) as caught:
        run(text, *flags)
    assert caught.value.returncode == 1
    return str(caught.value)


def test_import_config_writes_one_revision_and_prints_its_diff(run):
    out, err = run(GOOD)

    assert err == ""
    assert out == dedent("""\
        ~ defaults failover_max_attempts: unset -> 2
        + provider one (credential=${ONE_KEY}, kind=openai)
        + provider two (base_url=http://127.0.0.1:9000/v1, kind=vllm)
        + pool pool
        + candidate one/m of pool pool (priority=1, weight=1)
        + candidate two/m of pool pool (priority=2, weight=1)
        + alias short (target=pool)
        Imported FILE: 7 changes, revision 1.
        """)
    revision = RoutingRevision.objects.get()
    assert (revision.number, revision.source, revision.reason) == (1, "import", "Import of gateway.yaml")
    assert Provider.objects.get(name="one").credential_ref == "${ONE_KEY}"


def test_import_config_twice_changes_nothing(run):
    run(GOOD)
    out, _ = run(GOOD)

    assert out == "Nothing to change: revision 1 is what the file says.\n"
    assert RoutingRevision.objects.count() == 1


def test_import_config_dry_run_prints_the_diff_of_the_import_and_writes_nothing(run):
    dry, _ = run(GOOD, "--dry-run")
    before = queries.read_document()
    real, _ = run(GOOD)

    assert dry.splitlines()[:-1] == real.splitlines()[:-1]
    assert dry.splitlines()[-1] == "Dry run: 7 changes to make, nothing was written."
    assert before == {"defaults": queries.defaults_fields(None)}


def test_import_config_check_tells_drift(run):
    run(GOOD)
    agree, _ = run(GOOD, "--check")
    message = refused(run, GOOD.replace("max_attempts: 2", "max_attempts: 5"), "--check")

    assert agree == "FILE and the database agree.\n"
    assert "differ in 1 place. To make the database as the file says: manage.py import_config" in message
    assert queries.head_revision() == 1


def test_import_config_check_counts_a_candidate_that_a_named_pool_lacks(run):
    run(GOOD)
    shorter = GOOD.replace("        - {provider: two, model: m, priority: 2}\n", "")
    out, _ = run(shorter)

    assert out == (
        "  kept, not in file: candidate two/m of pool pool\n"
        "Nothing to change: revision 1 is what the file says.\n"
    )
    assert "differ in 1 place" in refused(run, shorter, "--check")


def test_import_config_check_looks_at_what_the_file_lacks_only_with_prune(run):
    run(GOOD)
    part = "providers: {two: {type: vllm, base_url: http://127.0.0.1:9000/v1}}"

    assert run(part, "--check")[0].endswith("FILE and the database agree.\n")
    assert "differ in 6 places" in refused(run, part, "--check", "--prune")


def test_import_config_prunes_with_the_switch(run):
    run(GOOD)
    actor = Actor("ada")
    services.set_switch(
        target=SwitchTarget(SwitchKind.PROVIDER, "two"),
        enabled=False,
        reason="storm",
        actor=actor,
        source="api",
    )
    run("providers: {one: {type: openai}}", "--prune")
    run(GOOD)

    assert set(ModelPool.objects.values_list("canonical_model", flat=True)) == {"pool"}
    two = Provider.objects.get(name="two")
    assert (two.enabled, two.switch_reason) == (True, "")


def test_import_config_never_touches_switches(run):
    run(GOOD)
    services.set_switch(
        target=SwitchTarget(SwitchKind.POOL_CANDIDATE, "two", "pool", "m"),
        enabled=False,
        reason="storm",
        actor=Actor("ada"),
        source="api",
    )
    run(GOOD.replace("priority: 2", "priority: 3"))

    fields = queries.read_document()["candidate/pool/two/m"]
    assert (fields["enabled"], fields["switch_reason"], fields["priority"]) == (False, "storm", 3)


def test_import_config_asks_before_it_empties_a_pool(run):
    run(GOOD)
    services.set_switch(
        target=SwitchTarget(SwitchKind.PROVIDER, "two"), enabled=False, actor=Actor("ada"), source="api"
    )
    text = GOOD.replace("        - {provider: one, model: m}\n", "")

    assert refused(run, text, "--prune") == (
        "Nothing was written: this would leave no candidate switched on in pool. "
        "If that is meant, run it again with --confirm pool."
    )
    _, warned = run(text, "--prune", "--dry-run")
    assert warned == ("warning: this leaves no candidate switched on in pool; to import add --confirm pool\n")
    assert queries.head_revision() == 2
    assert run(text, "--prune", "--confirm", "pool")[0] == (
        "- candidate one/m of pool pool\nImported FILE: 1 change, revision 3.\n"
    )


def test_import_config_dry_run_asks_for_the_confirmation_that_the_import_asks_for(run):
    two = {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}
    pool = {"candidates": [{"provider": "two", "model": "m"}]}
    text = json.dumps({"providers": {"two": two}, "routing": {"model_pools": {"pool": pool}}})
    run(text)
    without_model = text.replace('"models": ["m"]', '"models": ["other"]')

    _, warned = run(without_model, "--dry-run")

    assert "candidate switched on" not in warned
    assert run(without_model)[0].endswith("revision 2.\n")


def test_import_config_reports_all_problems_and_writes_nothing(run):
    message = refused(run, "providers:\n  one: {type: openai, api_key: '${MISSING_KEY}', kind: x}\nfoo: 1\n")

    assert message.partition("\n")[2] == (
        "  providers.one.api_key: MISSING_KEY is not set, and there is no MISSING_KEY_FILE. (line 2)\n"
        "  providers.one.kind: unknown key (line 2)\n"
        "  foo: unknown key (line 3)\n"
        "The format is described in docs/configuration.md."
    )
    assert queries.head_revision() == 0


def test_import_config_refuses_a_literal_key_without_encryption_keys(run):
    message = refused(run, "providers: {one: {type: openai, api_key: sk-literal-secret}}")

    assert f"a literal key cannot be stored. {credentials.ENCRYPTION_HINT}" in message
    assert "sk-literal-secret" not in message


def test_import_config_encrypts_a_literal_key_and_notices_another(run, settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    text = "providers: {one: {type: openai, api_key: sk-literal-secret-xyz}}"
    first, _ = run(text)
    again, _ = run(text, "--check")
    row = Provider.objects.get()

    assert first.splitlines()[0] == "+ provider one (credential=set …xyz, kind=openai)"
    assert again == "FILE and the database agree.\n"
    assert credentials.reveal(row.credential_ref, row.credential_encrypted) == ("sk-literal-secret-xyz", "")
    assert "differ in 1 place" in refused(run, text.replace("secret-xyz", "public-xyz"), "--check")
    assert run("providers: {one: {type: openai}}", "--check")[0] == "FILE and the database agree.\n"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SECRET_KEY", "is a setting of the gateway itself and is not copied into the configuration"),
        ("GATEWAY_BIND", "is a setting of the gateway itself and is not copied into the configuration"),
        ("ONE_KEY", "looks like a secret; only api_key may refer to it, since it is not copied there"),
    ],
)
def test_import_config_copies_no_secret_into_the_configuration(run, name, reason):
    message = refused(run, f'providers: {{one: {{type: vllm, base_url: "http://h/${{{name}:-x}}"}}}}')

    assert f"providers.one.base_url: {name} {reason} (line 1)" in message


def test_import_config_expands_other_variables(run):
    run('providers: {one: {type: vllm, base_url: "http://127.0.0.1/${ROUTE}"}}')

    assert Provider.objects.get().base_url == "http://127.0.0.1/v1"


def test_import_config_takes_a_credential_with_an_empty_default(run):
    run('providers: {one: {type: openai, api_key: "${MISSING_KEY:-}"}}')

    assert Provider.objects.get().credential_ref == "${MISSING_KEY:-}"
    assert "OTHER is not allowed by GATEWAY_SECRET_ENV_ALLOW." in refused(
        run, 'providers: {one: {type: openai, api_key: "${OTHER:-}"}}'
    )


def test_import_config_names_a_file_that_cannot_be_read():
    with pytest.raises(CommandError, match=r"nowhere\.yaml cannot be read: No such file or directory\."):
        call_command("import_config", "nowhere.yaml")


def test_import_config_reads_standard_input(monkeypatch, run):
    class Stdin:
        buffer = io.BytesIO(GOOD.encode())

    monkeypatch.setattr("sys.stdin", Stdin)
    out = io.StringIO()
    call_command("import_config", "-", stdout=out)

    assert out.getvalue().endswith("Imported -: 7 changes, revision 1.\n")


def test_export_config_writes_what_import_config_reads_back(run, tmp_path):
    run(GOOD)
    path = tmp_path / "export.yaml"
    path.write_text("old")
    path.chmod(0o600)
    out = io.StringIO()
    call_command("export_config", str(path), stdout=out)
    check = io.StringIO()
    call_command("import_config", str(path), "--check", "--prune", stdout=check)

    assert out.getvalue() == f"Wrote revision 1 to {path}.\n"
    assert check.getvalue() == f"{path} and the database agree.\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["export.yaml", "gateway.yaml"]


def test_export_config_prints_without_a_file():
    out = io.StringIO()
    call_command("export_config", stdout=out)

    assert (
        out.getvalue() == "models:\n  configured_provider_models_mode: fallback\n\nrouting:\n  defaults: {}\n"
    )


def test_export_config_names_a_place_it_cannot_write_to(tmp_path):
    with pytest.raises(CommandError, match="cannot be written: No such file or directory"):
        call_command("export_config", str(tmp_path / "missing" / "x.yaml"))


@given(documents())
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_import_of_an_export_is_an_empty_diff_in_the_database(document):
    """What the tables hold comes back as it was, whatever it is."""
    from django.db import transaction

    with transaction.atomic():
        how = {"actor": Actor("test", "command"), "source": "import"}
        for fields in document.values():
            if str(fields.get("credential", "")).startswith("set "):
                fields["credential"] = ""
        services.apply_document(desired=document, **how)
        current = queries.read_document()
        file = parse(render(current), surroundings(current=current, prune=True))
        assert [str(problem) for problem in file.problems] == []
        desired = plan(current, file.objects, prune=True).desired
        assert services.apply_document(desired=desired, prune=True, **how).changes == ()
        transaction.set_rollback(True)
