"""Workers on several nodes speak over the interface that has their node's address, not the one of the host's name."""

from __future__ import annotations

import os
import socket

import pytest

from train.process import choose_interface, interface_of

LOOPBACK = "127.0.0.1"


def test_an_address_names_its_interface() -> None:
    assert interface_of(LOOPBACK) in [name for _, name in socket.if_nameindex()]
    assert interface_of("203.0.113.7") == ""


def test_gloo_is_told_the_interface_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")  # so that it is as before afterwards
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    choose_interface("203.0.113.7")
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    choose_interface(LOOPBACK)
    assert os.environ["GLOO_SOCKET_IFNAME"] == interface_of(LOOPBACK)


def test_what_a_user_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    choose_interface(LOOPBACK)
    assert os.environ["GLOO_SOCKET_IFNAME"] == "ib0"
