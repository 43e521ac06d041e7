"""Switches hosts off by their management boards, over Redfish.

A device binds `bmc` to its board. Settings: `system` (if it is not `1`).
CPython runs it inside the component: no file, no socket, no print. Words for operators go to `log`.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.fence import (
    Device,
    Ordered,
    Ordered_Accepted,
    Ordered_Refused,
    Ordered_Unknown,
    Power,
    Power_Off,
    Power_On,
    Power_Unknown,
)
from wit_world.imports import http, log

# As [rights.http] in extension.toml calls it.
BOARD = "bmc"


def setting(device: Device, name: str, otherwise: str) -> str:
    return next((each.value for each in device.settings if each.name == name), otherwise)


def system(device: Device) -> str:
    return f"/redfish/v1/Systems/{setting(device, 'system', '1')}"


def reset(device: Device, kind: str) -> Ordered:
    path = f"{system(device)}/Actions/ComputerSystem.Reset"
    try:
        answer = http.send(BOARD, http.Method.POST, path, json.dumps({"ResetType": kind}))
    except Err as error:
        # Only an unanswered one may have been done.
        unanswered = isinstance(error.value, http.Error_Unanswered)
        said = error.value.value
        return Ordered_Unknown(said) if unanswered else Ordered_Refused(said)
    said = f"the board answered {answer.status}"
    if 200 <= answer.status <= 299:
        return Ordered_Accepted()
    return Ordered_Refused(said) if 400 <= answer.status <= 499 else Ordered_Unknown(said)


class Fence(exports.Fence):
    def off(self, device: Device) -> Ordered:
        log.write(log.Level.INFO, f"switching {device.host} off")
        return reset(device, "ForceOff")

    def on(self, device: Device) -> Ordered:
        return reset(device, "On")

    def status(self, device: Device) -> Power:
        try:
            answer = http.send(BOARD, http.Method.GET, system(device), None)
            if answer.status != 200:
                return Power_Unknown(f"the board answered {answer.status}")
            state = json.loads(answer.body).get("PowerState")
        except Err as error:
            return Power_Unknown(error.value.value)
        except (ValueError, AttributeError):
            return Power_Unknown("the board's answer is not what Redfish says")
        # Only these very words: whatever else a board says is not known to be off.
        return {"On": Power_On(), "Off": Power_Off()}.get(state, Power_Unknown(f"the board says {state}"))
