"""Hub servers in Python for tests of clients and for demos, not for production."""

from __future__ import annotations

from .active_faults import Fault
from .classic.faults import ClassicFaults
from .classic.hubs import ClassicCallerProxy, ClassicHub, ClassicHubClients, Progress, RawConnections, RawHandler
from .classic.server import ClassicHubServer
from .fault_proxy import FaultProxy
from .faults import Faults
from .hubs import ClientProxy, Hub, HubClients, HubContext, HubException, HubGroups, IOException, SingleClientProxy
from .ledger_hub import LedgerHub, LedgerRow, LedgerState
from .pending import Pending
from .recording import Recorded, RecordedCall, RecordedConnect, RecordedDisconnect, RecordedNegotiation, RecordedRefusal
from .server import HubServer
from .settings import Identity
from .simulated_network import SimulatedNetwork

__all__ = [
    "ClassicCallerProxy",
    "ClassicFaults",
    "ClassicHub",
    "ClassicHubClients",
    "ClassicHubServer",
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
    "LedgerHub",
    "LedgerRow",
    "LedgerState",
    "Pending",
    "Progress",
    "RawConnections",
    "RawHandler",
    "Recorded",
    "RecordedCall",
    "RecordedConnect",
    "RecordedDisconnect",
    "RecordedNegotiation",
    "RecordedRefusal",
    "SimulatedNetwork",
    "SingleClientProxy",
]
