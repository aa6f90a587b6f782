# SPDX-License-Identifier: Apache-2.0
"""GnuTLS through ctypes: a foreign TLS end that changes keys and pads records whenever the test wants it."""
import ctypes
import ctypes.util

_lib = ctypes.CDLL("libgnutls.so.30")
SERVER, CLIENT = 1, 2
_CERTIFICATE, _PEM, _REQUIRE, _PEER, _RDWR = 1, 1, 2, 1, 0
_lib.gnutls_strerror.restype = ctypes.c_char_p
_lib.gnutls_alert_get_name.restype = ctypes.c_char_p
for _name in ("gnutls_record_recv", "gnutls_record_send2"):
    getattr(_lib, _name).restype = ctypes.c_ssize_t
_lib.gnutls_record_send2.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint]
_lib.gnutls_record_recv.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

PRIORITY = "NORMAL:-VERS-ALL:+VERS-TLS1.3"


class Error(Exception):
    """A GnuTLS failure; `alert` is the peer's alert, if that is what it was."""

    def __init__(self, what, code, alert):
        super().__init__(f"{what}: {_lib.gnutls_strerror(code).decode()}{' ' + alert if alert else ''}")
        self.alert = alert


class _Datum(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_uint)]


def _datum(text):
    return _Datum(text, len(text))


class Session:
    """One end over a connected, blocking socket. `credential` may be None for a client."""

    def __init__(self, sock, server, credential, priority=PRIORITY, alpn=b"h2"):
        self.sock, self.keep = sock, []
        self.handle, self.cred = ctypes.c_void_p(), ctypes.c_void_p()
        _lib.gnutls_init(ctypes.byref(self.handle), SERVER if server else CLIENT)
        self._check("priority", _lib.gnutls_priority_set_direct(self.handle, priority.encode(), None))
        self._check("credentials", _lib.gnutls_certificate_allocate_credentials(ctypes.byref(self.cred)))
        if credential:
            self._load(credential)
        self._check("set", _lib.gnutls_credentials_set(self.handle, _CERTIFICATE, self.cred))
        if server:
            _lib.gnutls_certificate_server_set_request(self.handle, _REQUIRE)
        if alpn:
            self._check("alpn", _lib.gnutls_alpn_set_protocols(self.handle, ctypes.byref(_datum(alpn)), 1, 0))
        _lib.gnutls_transport_set_int2(self.handle, sock.fileno(), sock.fileno())
        _lib.gnutls_handshake_set_timeout(self.handle, 20000)

    def _load(self, credential):
        chain, key, root = credential
        self._check("key", _lib.gnutls_certificate_set_x509_key_mem(
            self.cred, ctypes.byref(_datum(chain)), ctypes.byref(_datum(key)), _PEM))
        self._check("root", min(0, _lib.gnutls_certificate_set_x509_trust_mem(
            self.cred, ctypes.byref(_datum(root)), _PEM)))

    def _check(self, what, code):
        if code < 0:
            alert = None
            if code in (-12, -16):  # a fatal or warning alert came
                alert = _lib.gnutls_alert_get_name(_lib.gnutls_alert_get(self.handle)).decode()
            raise Error(what, code, alert)
        return code

    def handshake(self):
        code = _lib.gnutls_handshake(self.handle)
        while code < 0 and not _lib.gnutls_error_is_fatal(code):
            code = _lib.gnutls_handshake(self.handle)
        self._check("handshake", code)

    def send(self, data, padding=0):
        while data:
            part = data[:16000 - padding]
            n = self._check("send", _lib.gnutls_record_send2(self.handle, part, len(part), padding, 0))
            data = data[n:]

    def receive(self, room=65536):
        """b"" at close_notify."""
        buf = ctypes.create_string_buffer(room)
        while True:
            n = _lib.gnutls_record_recv(self.handle, buf, room)
            if n >= 0 or _lib.gnutls_error_is_fatal(int(n)):
                self._check("receive", int(n))
                return buf.raw[:n]

    def update_key(self, ask_peer):
        self._check("key update", _lib.gnutls_session_key_update(self.handle, _PEER if ask_peer else 0))

    def bye(self):
        """close_notify from us only."""
        self._check("bye", _lib.gnutls_bye(self.handle, 1))

    def close(self):
        _lib.gnutls_deinit(self.handle)
        _lib.gnutls_certificate_free_credentials(self.cred)
        self.sock.close()
