"""What happens around every call, in the order of the one list at the end of this file."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import grpc

from orchestrator.api.access import RECORDED, RECORDED_WHEN_DONE, authorise
from orchestrator.api.caller import CALLER, REQUEST_ID, Anonymous, Caller, DeviceCaller, OperatorCaller
from orchestrator.api.convert.audit import actor_text, parameters_text
from orchestrator.api.error_table import status_of, trailing_metadata
from orchestrator.audit.log import AuditLog
from orchestrator.clock import Clock
from orchestrator.errors import FleetfitError, PermissionDeniedError, UnauthenticatedError
from orchestrator.fleet.certificates import read_device_identity
from orchestrator.fleet.operators import Operators
from orchestrator.fleet.sessions import enrolled_device
from orchestrator.storage.database import Database

_LOG = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")

# In quotes: gRPC's classes take parameters only in their stubs.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Around: TypeAlias = "Callable[[Context, object], AbstractAsyncContextManager[None]]"


class Interceptor(grpc.aio.ServerInterceptor):
    """Does something before and after each call, of whatever shape."""

    @abstractmethod
    def around(self, method: str, context: Context, request: object) -> AbstractAsyncContextManager[None]:
        """Entered before the method runs, left when it has ended; sees what it raises."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler of the call, wrapped; nothing where there is no such method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            # gRPC answers UNIMPLEMENTED.
            return None
        return _wrapped(handler, functools.partial(self.around, handler_call_details.method))


class RequestIdentity(Interceptor):
    """Gives each call an id, the client's where it brings one: it is in the log and in every error."""

    @asynccontextmanager
    async def around(self, method: str, context: Context, request: object) -> AsyncIterator[None]:
        """See the class."""
        given = _metadata(context, "fleetfit-request-id")
        REQUEST_ID.set(given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)
        _LOG.debug("%s %s from %s", REQUEST_ID.get(), method, context.peer())
        yield


class ErrorTranslation(Interceptor):
    """Turns what a method raises into a gRPC status. What is not ours becomes INTERNAL, and gives nothing away."""

    @asynccontextmanager
    async def around(self, method: str, context: Context, request: object) -> AsyncIterator[None]:
        """See the class."""
        try:
            yield
        except FleetfitError as error:
            await _abort(context, error)
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception:
            _LOG.exception("%s %s failed", REQUEST_ID.get(), method)
            await _abort(
                context,
                FleetfitError(
                    "something went wrong inside the orchestrator",
                    hint=f"its log tells more under request {REQUEST_ID.get()}",
                ),
            )


class Authentication(Interceptor):
    """Finds out who calls: a device by its certificate, else an operator by the API token, else nobody."""

    def __init__(self, *, database: Database, operators: Operators, clock: Clock) -> None:
        self._database = database
        self._operators = operators
        self._clock = clock

    @asynccontextmanager
    async def around(self, method: str, context: Context, request: object) -> AsyncIterator[None]:
        """See the class."""
        CALLER.set(await self._caller(context))
        yield

    async def _caller(self, context: Context) -> Caller:
        certificates = list(context.auth_context().get("x509_pem_cert", ()))
        if certificates:
            return await self._device(certificates[0])
        kind, _, token = _metadata(context, "authorization").partition(" ")
        if not token:
            return Anonymous()
        if kind.lower() != "bearer":
            raise UnauthenticatedError("the authorization is not a bearer token", hint="send 'Bearer TOKEN'")
        found = await self._operators.authenticate(token)
        return OperatorCaller(token_id=found.id, name=found.name, role=found.role)

    async def _device(self, certificate: bytes) -> DeviceCaller:
        """TLS has verified the certificate when the connection began; whether it still counts is looked up now."""
        identity = read_device_identity(certificate)
        if identity.expires_at <= self._clock():
            raise UnauthenticatedError(
                "the device's certificate has expired", hint="join again with a new token", reason="REENROL"
            )
        await self._database.run(lambda tx: enrolled_device(tx, identity.device_id, identity.key_fingerprint))
        return DeviceCaller(
            device_id=identity.device_id,
            key_fingerprint=identity.key_fingerprint,
            certificate_expires_at=identity.expires_at,
        )


class Authorisation(Interceptor):
    """Lets pass what the access table allows, and nothing else. What changes something is recorded before it is done.

    Also recorded is what somebody known was denied, and what failed after it was allowed. What strangers are denied is
    not: they could fill the log.
    """

    def __init__(self, *, audit: AuditLog) -> None:
        self._audit = audit

    @asynccontextmanager
    async def around(self, method: str, context: Context, request: object) -> AsyncIterator[None]:
        """See the class."""
        caller = CALLER.get()
        try:
            authorise(method, caller)
        except PermissionDeniedError as error:
            await self._record(method, caller, request, f"denied: {error.message}")
            raise
        if method not in RECORDED:
            yield
            if method in RECORDED_WHEN_DONE:
                await self._record(method, caller, request, "done")
            return
        await self._record(method, caller, request, "allowed")
        try:
            yield
        except FleetfitError as error:
            await self._record(method, caller, request, f"failed: {error.message}")
            raise

    async def _record(self, method: str, caller: Caller, request: object, outcome: str) -> None:
        await self._audit.record(
            actor=actor_text(caller),
            method=method.removeprefix("/fleetfit.v1."),
            parameters=parameters_text(request),
            outcome=outcome,
            request_id=REQUEST_ID.get(),
        )


def interceptors(*, database: Database, operators: Operators, audit: AuditLog, clock: Clock) -> tuple[Interceptor, ...]:
    """The chain, outermost first."""
    return (
        RequestIdentity(),
        ErrorTranslation(),
        Authentication(database=database, operators=operators, clock=clock),
        Authorisation(audit=audit),
    )


def _wrapped(handler: Handler, around: Around) -> Handler:
    codec: dict[str, Any] = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    inner: Any
    if not handler.response_streaming:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def single(request: Any, context: Context) -> Any:
            async with around(context, request):
                return await inner(request, context)

        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(single, **codec)
        return grpc.unary_unary_rpc_method_handler(single, **codec)
    inner = handler.stream_stream if handler.request_streaming else handler.unary_stream

    async def many(request: Any, context: Context) -> AsyncIterator[Any]:
        async with around(context, request):
            async for response in inner(request, context):
                yield response

    if handler.request_streaming:
        return grpc.stream_stream_rpc_method_handler(many, **codec)
    return grpc.unary_stream_rpc_method_handler(many, **codec)


async def _abort(context: Context, error: FleetfitError) -> None:
    await context.abort(status_of(error), error.message[:500], trailing_metadata(error, REQUEST_ID.get()))


def _metadata(context: Context, key: str) -> str:
    for found, value in context.invocation_metadata() or ():
        if found == key:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return ""
