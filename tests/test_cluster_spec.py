"""What `--on` names: every form, and every mistake told with file and key."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quark_bench.errors import UsageError
from quark_bench.execute.cluster_spec import Adapt, ClusterSpec, TlsFiles, parse_scheduler_file, parse_spec, read_spec

README = Path(__file__).parents[1] / "README.md"
FOLDER = Path("where/it/lies")
TLS = '[tls]\nca_file = "ca.pem"\ncert = "own.pem"\nkey = "own-key.pem"\n'


def parsed(text):
    return parse_spec(text, FOLDER, "cluster.toml")


def test_local_is_started_by_us():
    assert read_spec("local") == ClusterSpec("local")
    assert read_spec("local").starts


@pytest.mark.parametrize(
    ("on", "address"),
    [
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("localhost:8786", "tcp://localhost:8786"),
        ("[::1]:8786", "tcp://[::1]:8786"),
        ("tls://far.example.org:8786", "tls://far.example.org:8786"),
        ("ucx://127.0.0.1:13337", "ucx://127.0.0.1:13337"),
        ("wss://far.example.org:443", "wss://far.example.org:443"),
    ],
)
def test_an_address_is_used_as_it_is(on, address):
    spec = read_spec(on)
    assert spec == ClusterSpec(on, address=address)
    assert not spec.starts


def test_a_class_comes_with_its_arguments_size_and_certificates():
    text = f'cluster = "dask_jobqueue:SLURMCluster"\nscale = 20\n[kwargs]\ncores = 4\nmemory = "16GB"\n{TLS}'
    spec = parsed(text)
    assert (spec.cluster, spec.scale) == ("dask_jobqueue:SLURMCluster", 20)
    assert spec.kwargs == {"cores": 4, "memory": "16GB"}
    assert spec.tls == TlsFiles(FOLDER / "ca.pem", FOLDER / "own.pem", FOLDER / "own-key.pem")
    assert spec.starts


def test_adapt_has_bounds():
    assert parsed('cluster = "a:B"\n[adapt]\nminimum = 2\nmaximum = 9').adapt == Adapt(2, 9)
    assert parsed('cluster = "a:B"\n[adapt]\nmaximum = 9').adapt == Adapt(1, 9)


def test_what_a_class_is_given_is_shown_nowhere_because_it_may_be_secret():
    assert "hunter2" not in repr(parsed('cluster = "a:B"\n[kwargs]\npassword = "hunter2"'))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "exactly one of address, scheduler_file, cluster; it has none"),
        ("scale = 3", "exactly one of"),
        ('address = "a:1"\ncluster = "a:B"', "it has address and cluster"),
        ('adress = "a:1"', "no key 'adress' is known; did you mean 'address'?"),
        ('cluster = "a:B"\n[kwarg]\nx = 1', "did you mean 'kwargs'?"),
        ('cluster = "a:B"\nscale = "many"', "scale = 'many' should be a whole number"),
        ('cluster = "a:B"\nscale = true', "scale = True should be a whole number"),
        ('cluster = "a:B"\nscale = 0', "scale = 0: give 1 or more"),
        ('cluster = "a:B"\ninsecure = 1', "insecure = 1 should be true or false"),
        ('cluster = "a:B"\nkwargs = 3', "kwargs = 3 should be a table"),
        ('cluster = "SLURMCluster"', "should be 'module:Class'"),
        ('cluster = "a:B"\nscale = 3\n[adapt]\nmaximum = 4', "scale and adapt exclude each other"),
        ('cluster = "a:B"\n[adapt]\nminimum = 4', "[adapt]: maximum is missing"),
        ('cluster = "a:B"\n[adapt]\nminimum = 4\nmaximum = 2', "[adapt], maximum = 2: give 4 or more"),
        ('cluster = "a:B"\n[adapt]\nmaximun = 4', "[adapt]: no key 'maximun' is known; did you mean 'maximum'?"),
        ('cluster = "a:B"\n[tls]\nca_file = "x"', "[tls]: cert, key missing"),
        ('cluster = "a:B"\n[tls]\nca = "x"', "[tls]: no key 'ca' is known; did you mean 'ca_file'?"),
        (f'cluster = "a:B"\n[kwargs]\nsecurity = true\n{TLS}', "[tls] and kwargs.security exclude each other"),
        ('address = "a:1"\nscale = 3', "scale is for a cluster that is started; leave it out beside address"),
        ('scheduler_file = "a"\n[kwargs]\nx = 1', "kwargs is for a cluster that is started"),
        ('address = "somewhere"', "address = 'somewhere': give local, inline, or a scheduler's address"),
        ("address = ", "no valid TOML"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_the_file_and_the_key(text, told):
    with pytest.raises(UsageError) as mistake:
        parsed(text)
    assert "cluster.toml" in str(mistake.value)
    assert told in str(mistake.value)


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_scheduler_file_leads_to_its_address(tmp_path):
    file = write(tmp_path, "scheduler.json", '{"type": "Scheduler", "address": "tcp://127.0.0.1:41000"}')
    assert read_spec(file).address == "tcp://127.0.0.1:41000"
    beside = write(tmp_path, "cluster.toml", 'scheduler_file = "scheduler.json"')
    assert read_spec(beside).address == "tcp://127.0.0.1:41000"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no valid JSON"),
        ("[1]", "holds no address"),
        ("{}", "holds no address"),
        ('{"address": "nonsense"}', "address 'nonsense'"),
    ],
)
def test_a_file_that_no_scheduler_wrote_is_told(text, told):
    with pytest.raises(UsageError, match=f"s\\.json.*{told}"):
        parse_scheduler_file(text, "s.json")


def test_files_that_are_missing_are_told_with_their_key(tmp_path):
    for on in ("nowhere.toml", "nowhere.json"):
        with pytest.raises(UsageError, match=f"there is no file {on}"):
            read_spec(on)
    lost = write(tmp_path, "lost.toml", 'scheduler_file = "gone.json"')
    with pytest.raises(UsageError, match=r"gone\.json \(scheduler_file\)"):
        read_spec(lost)
    bare = write(tmp_path, "bare.toml", f'address = "tls://far.example.org:8786"\n{TLS}')
    with pytest.raises(UsageError, match=r"ca\.pem \(\[tls\] ca_file\)"):
        read_spec(bare)


def test_certificates_beside_a_plain_address_are_a_mistake(tmp_path):
    for name in ("ca.pem", "own.pem", "own-key.pem"):
        write(tmp_path, name, "")
    with pytest.raises(UsageError, match=r"\[tls\] needs an address that begins with tls://"):
        read_spec(write(tmp_path, "plain.toml", f'address = "tcp://127.0.0.1:8786"\n{TLS}'))


def test_plain_beyond_this_machine_is_refused_whatever_leads_there_unless_insecure(tmp_path):
    far = "tcp://192.0.2.7:8786"
    places = [far, "192.0.2.7:8786", write(tmp_path, "s.json", f'{{"address": "{far}"}}')]
    places.append(write(tmp_path, "a.toml", f'address = "{far}"'))
    places.append(write(tmp_path, "f.toml", 'scheduler_file = "s.json"'))
    for on in places:
        with pytest.raises(UsageError, match="--insecure"):
            read_spec(on)
        assert read_spec(on, insecure=True).address == far
    assert read_spec(write(tmp_path, "b.toml", f'address = "{far}"\ninsecure = true')).address == far


CLUSTERS = README.read_text().partition("## Any cluster")[2].partition("\n## ")[0]
DOCUMENTED = re.findall(r"```toml\n(.*?)```", CLUSTERS, re.DOTALL)


def test_a_file_for_each_of_the_four_kinds_of_cluster_is_documented():
    classes = {parsed(text).cluster for text in DOCUMENTED}
    assert classes >= {
        "distributed:SSHCluster",
        "dask_jobqueue:SLURMCluster",
        "dask_kubernetes.operator:KubeCluster",
        "dask_gateway:GatewayCluster",
    }


@pytest.mark.parametrize("text", DOCUMENTED)
def test_every_documented_file_can_be_read(text):
    assert parsed(text).on == "cluster.toml"


def test_reading_a_spec_needs_no_dask(tmp_path):
    write(tmp_path, "cluster.toml", 'cluster = "distributed:LocalCluster"')
    code = "import sys; from quark_bench.execute.cluster_spec import read_spec; read_spec('cluster.toml'); "
    told = subprocess.run(
        [sys.executable, "-c", code + "print(sorted({'dask', 'distributed'} & sys.modules.keys()))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout == "[]\n"
