"""The few calls of HBase's own RPC that its Thrift server lacks: read a row of ``hbase:meta``, create a namespace.

Protocol: HBase reference guide, appendix "HBase RPC": preamble ``HBas`` + version 0 + auth 0x50 (simple), a connection
header, then requests and responses, each a 4-byte length and varint-delimited protobuf messages.
"""

from __future__ import annotations

import getpass
import socket
import struct
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from appliance.errors import ApplianceError, NotReadyError

_META_REGION = b"hbase:meta,,1"
_REGION_NAME = 1  # RegionSpecifier.RegionSpecifierType.REGION_NAME

# The fields we use of HBase's messages, with the numbers of its .proto files.
_MESSAGES: dict[str, tuple[tuple[int, str, str], ...]] = {
    "UserInformation": ((1, "effective_user", "string"),),
    "ConnectionHeader": ((1, "user_info", "UserInformation"), (2, "service_name", "string")),
    "RequestHeader": ((1, "call_id", "uint32"), (3, "method_name", "string"), (4, "request_param", "bool")),
    "ExceptionResponse": ((1, "exception_class_name", "string"), (2, "stack_trace", "string")),
    "ResponseHeader": ((1, "call_id", "uint32"), (2, "exception", "ExceptionResponse")),
    "RegionSpecifier": ((1, "type", "int32"), (2, "value", "bytes")),
    "Get": ((1, "row", "bytes"),),
    "GetRequest": ((1, "region", "RegionSpecifier"), (2, "get", "Get")),
    "GetResponse": (),
    "NamespaceDescriptor": ((1, "name", "bytes"),),
    "CreateNamespaceRequest": ((1, "namespaceDescriptor", "NamespaceDescriptor"),),
    "CreateNamespaceResponse": ((1, "proc_id", "uint64"),),
    "GetNamespaceDescriptorRequest": ((1, "namespaceName", "string"),),
    "GetNamespaceDescriptorResponse": ((1, "namespaceDescriptor", "NamespaceDescriptor"),),
}


def _compile() -> dict[str, Any]:
    """Message classes by name."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="appliance_hbase.proto", package="appliance.hbase", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            added = message.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
            if kind in _MESSAGES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".appliance.hbase.{kind}"
            else:
                added.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"appliance.hbase.{name}"))
        for name in _MESSAGES
    }


_CLASS = _compile()


class HBaseRpcError(ApplianceError):
    """HBase answered a call with an exception; ``context["exception"]`` is its class."""


def _delimited(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    length, head = len(raw), bytearray()
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes([length]) + raw


def _undelimited(raw: bytes, at: int) -> tuple[bytes, int]:
    """One varint-delimited message from offset ``at``: its bytes and the offset after it."""
    length = shift = 0
    while True:
        byte = raw[at]
        at += 1
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return raw[at : at + length], at + length


def _call(port: int, service: str, method: str, request: Any, response: str, timeout_seconds: float) -> Any:
    """One call on a connection of its own to loopback ``port``.

    Raises NotReadyError when nothing answers, HBaseRpcError when HBase answers with an exception.
    """
    user = _CLASS["UserInformation"](effective_user=getpass.getuser())
    hello = _CLASS["ConnectionHeader"](user_info=user, service_name=service).SerializeToString()
    header = _CLASS["RequestHeader"](call_id=1, method_name=method, request_param=True)
    body = _delimited(header) + _delimited(request)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds) as connection:
            connection.sendall(b"HBas\x00\x50" + struct.pack(">I", len(hello)) + hello)
            connection.sendall(struct.pack(">I", len(body)) + body)
            with connection.makefile("rb") as stream:
                (length,) = struct.unpack(">I", stream.read(4))
                raw = stream.read(length)
    except (OSError, struct.error) as error:
        raise NotReadyError(
            "hbase.no_answer", f"HBase's {service} at 127.0.0.1:{port} does not answer {method}: {error!r}",
            hint="appliance logs hbase",
        ) from error  # fmt: skip
    head, at = _undelimited(raw, 0)
    answer = _CLASS["ResponseHeader"].FromString(head)
    if answer.HasField("exception"):
        name = answer.exception.exception_class_name
        raise HBaseRpcError(
            "hbase.exception",
            f"HBase's {method} failed with {name}: {answer.exception.stack_trace.splitlines()[0][:300]}",
            context={"exception": name},
            hint="appliance logs hbase",
        )
    return _CLASS[response].FromString(_undelimited(raw, at)[0])


def read_meta(regionserver_port: int, timeout_seconds: float = 5.0) -> None:
    """Read one row of the catalogue table from the region server, which proves that it serves.

    Raises NotReadyError or HBaseRpcError.
    """
    region = _CLASS["RegionSpecifier"](type=_REGION_NAME, value=_META_REGION)
    request = _CLASS["GetRequest"](region=region, get=_CLASS["Get"](row=b"ready"))
    _call(regionserver_port, "ClientService", "Get", request, "GetResponse", timeout_seconds)


def namespace_exists(master_port: int, name: str, timeout_seconds: float = 10.0) -> bool:
    """Whether namespace ``name`` exists. Raises NotReadyError or HBaseRpcError."""
    request = _CLASS["GetNamespaceDescriptorRequest"](namespaceName=name)
    try:
        _call(
            master_port, "MasterService", "GetNamespaceDescriptor", request, "GetNamespaceDescriptorResponse",
            timeout_seconds,
        )  # fmt: skip
    except HBaseRpcError as error:
        if error.context["exception"].endswith("NamespaceNotFoundException"):
            return False
        raise
    return True


def create_namespace(master_port: int, name: str, timeout_seconds: float = 10.0) -> None:
    """Start the creation of namespace ``name``; poll ``namespace_exists`` for its end."""
    descriptor = _CLASS["NamespaceDescriptor"](name=name.encode())
    request = _CLASS["CreateNamespaceRequest"](namespaceDescriptor=descriptor)
    _call(master_port, "MasterService", "CreateNamespace", request, "CreateNamespaceResponse", timeout_seconds)
