"""A hub server in Python for tests of clients and for demos, not for production."""

from __future__ import annotations

from .active_faults import Fault
from .fault_proxy import FaultProxy
from .faults import Faults
from .hubs import ClientProxy, Hub, HubClients, HubContext, HubException, HubGroups, IOException, SingleClientProxy
from .ledger_hub import Ledger, LedgerHub, LedgerRow
from .pending import Pending
from .recording import Recorded, RecordedCall, RecordedConnect, RecordedDisconnect, RecordedNegotiation
from .server import HubServer
from .settings import Identity
from .simulated_network import SimulatedNetwork

__all__ = [
    "ClientProxy",
    "Fault",
    "FaultProxy",
    "Faults",
    "Hub",
    "HubClients",
    "HubContext",
    "HubException",
    "HubGroups",
    "HubServer",
    "IOException",
    "Identity",
    "Ledger",
    "LedgerHub",
    "LedgerRow",
    "Pending",
    "Recorded",
    "RecordedCall",
    "RecordedConnect",
    "RecordedDisconnect",
    "RecordedNegotiation",
    "SimulatedNetwork",
    "SingleClientProxy",
]
