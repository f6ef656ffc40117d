"""Any cluster: starts what a spec's `module:Class` names, whatever it is.

There is no code for a deployment of its own: a class has `scheduler_address`, `scale`, `adapt`, `close` and
`security` as far as it needs them, and need not descend from Dask's `Cluster`; dask-gateway's does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed.security import Security

from quark_bench.errors import ClusterError, QuarkBenchError, UsageError, describe
from quark_bench.execute.addresses import protocol_of, require_safe
from quark_bench.execute.cluster_spec import ClusterSpec

PACKAGES = {
    "dask_cloudprovider": "dask-cloudprovider",
    "dask_gateway": "dask-gateway",
    "dask_jobqueue": "dask-jobqueue",
    "dask_kubernetes": "dask-kubernetes",
    "dask_yarn": "dask-yarn",
}
"""What to install for a module of this name; elsewhere the module's own name is the best guess."""


@contextmanager
def started_cluster(spec: ClusterSpec) -> Iterator[Any]:
    """The cluster that `spec.cluster` names, started, scaled, and closed at the end.

    Raises UsageError for a class that cannot be imported or called, ClusterError where it does not start or close.
    """
    security = tls_security(spec)
    make = _class(spec)
    try:
        cluster = make(**spec.kwargs, **({} if security is None else {"security": security}))
    except TypeError as error:
        raise UsageError(f"{spec.on}: {spec.cluster} does not take these [kwargs]: {error}") from error
    except QuarkBenchError:
        raise
    except Exception as error:
        raise ClusterError(
            f"{spec.on}: {spec.cluster} could not be started ({describe(_root_of(error), 500)}); check its [kwargs]"
        ) from error
    try:
        require_safe(cluster.scheduler_address, spec.on, insecure=spec.insecure)
        _size(cluster, spec)
        yield cluster
    finally:
        _close(cluster, spec)


def _root_of(error: BaseException) -> BaseException:
    """What it all began with: Dask tells only that a nanny failed."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def tls_security(spec: ClusterSpec) -> Security | None:
    """Dask's Security of the spec's [tls]; None leaves it to Dask's own configuration.

    Raises UsageError for files that are no certificates, and for an address that needs some where none are given.
    """
    if spec.tls is None:
        if spec.address is not None:
            _require_configured(spec.on, spec.address)
        return None
    shown = {"cert": str(spec.tls.cert), "key": str(spec.tls.key)}
    roles = {f"tls_{role}_{what}": file for role in ("client", "scheduler", "worker") for what, file in shown.items()}
    security = Security(require_encryption=True, tls_ca_file=str(spec.tls.ca_file), **roles)
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(
            f"{spec.on}, [tls]: the files are no certificate and key that fit together ({describe(error, 200)})"
        ) from error
    return security


def _require_configured(on: str, address: str) -> None:
    encrypted = protocol_of(address) in ("tls", "wss")
    if not encrypted or dask.config.get("distributed.client.security-loader", None):
        return
    if Security().get_connection_args("client").get("ssl_context") is None:
        raise UsageError(
            f"--on {on}: TLS needs certificates on this end too; name them in a TOML file ([tls] with ca_file, cert "
            "and key, beside address), or set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"
        )


def _class(spec: ClusterSpec) -> Any:
    assert spec.cluster is not None, "asked for a class"
    module, _, name = spec.cluster.partition(":")
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsageError(
            f"{spec.on}: cluster = {spec.cluster!r} cannot be imported ({error}); "
            f"pip install {PACKAGES.get(package, package)}"
        ) from error
    found = getattr(loaded, name, None)
    if not callable(found):
        raise UsageError(f"{spec.on}: cluster = {spec.cluster!r}: module {module} has no class {name}")
    return found


def _size(cluster: Any, spec: ClusterSpec) -> None:
    try:
        if spec.scale is not None:
            cluster.scale(spec.scale)
        if spec.adapt is not None:
            cluster.adapt(minimum=spec.adapt.minimum, maximum=spec.adapt.maximum)
    except Exception as error:
        what = "scale" if spec.scale is not None else "[adapt]"
        raise ClusterError(f"{spec.on}: {spec.cluster} refuses {what}: {describe(error, 300)}") from error


def _close(cluster: Any, spec: ClusterSpec) -> None:
    try:
        cluster.close()
    except Exception as error:
        raise ClusterError(
            f"{spec.on}: {spec.cluster} could not be closed ({describe(error, 300)}); "
            "see to it that its machines are gone"
        ) from error
