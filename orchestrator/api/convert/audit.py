"""What the audit log says of a call: who, and what was asked."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from orchestrator.api.caller import Caller, DeviceCaller, OperatorCaller

_TEXT_LIMIT = 80
# Documents, which are not what a person would call a parameter, and what must never be shown.
_LEFT_OUT = frozenset({"spec_json", "idempotency_key"})
_SECRET = ("token", "secret")
_SHOWN = frozenset({
    FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_ENUM,
})  # fmt: skip


def actor_text(caller: Caller) -> str:
    """Who calls: "token local (admin)", "device 3f2a…", "anonymous"."""
    if isinstance(caller, OperatorCaller):
        return f"token {caller.name} {caller.token_id} ({caller.role.value})"
    if isinstance(caller, DeviceCaller):
        return f"device {caller.device_id}"
    return "anonymous"


def parameters_text(request: object) -> str:
    """The request's own simple fields: "device=pi-4b". No bytes, and no secrets."""
    if not isinstance(request, Message):
        return ""
    return ", ".join(
        f"{field.name}={str(value)[:_TEXT_LIMIT]}"
        for field, value in request.ListFields()
        if field.type in _SHOWN
        and not field.is_repeated
        and field.name not in _LEFT_OUT
        and not any(word in field.name for word in _SECRET)
    )
