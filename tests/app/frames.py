"""Frames of the studio's websockets, read as the page reads them."""

import json
import struct

import numpy as np


def read(socket):
    """(header, bytes) of the next frame; the error of the next message that is none."""
    message = socket.receive()
    if "text" in message and message["text"] is not None:
        return json.loads(message["text"]), b""
    packed = message["bytes"]
    (size,) = struct.unpack("<I", packed[:4])
    return json.loads(packed[4 : 4 + size]), packed[4 + size :]


def begun(socket, **asked):
    socket.send_json({"do": "begin", **asked})
    return read(socket)


def stepped(socket, steps):
    socket.send_json({"do": "step", "steps": steps})
    return read(socket)


def pixels(header, payload):
    return np.frombuffer(payload, np.uint8).reshape(header["n"], *header["shape"])


def places(payload):
    return np.frombuffer(payload, np.float32).reshape(-1, 2)
