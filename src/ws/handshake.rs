//! The opening handshake, server side (RFC 6455 section 4.2).

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, PAD, STANDARD};
use sha1::{Digest, Sha1};

use super::extensions::{Deflate, Malformed, Offers};

/// What the key is hashed with (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes that a key stands for.
const KEY_BYTES: usize = 16;

/// Keys made up by hand often have bits set behind the last byte, which nobody needs to refuse.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    PAD.with_decode_allow_trailing_bits(true),
);

/// What a handshake says beside its header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeRequest {
    /// Whether the method is `GET`.
    pub is_get: bool,
    /// Whether the version is HTTP/1.1; an older one cannot upgrade (RFC 9110 section 7.8).
    pub is_http11: bool,
    /// Whether a body follows.
    pub has_body: bool,
}

/// What to answer with `101 Switching Protocols`, beside `Upgrade: websocket` and
/// `Connection: Upgrade`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    key: [u8; 28],
    bearer: bool,
    deflate: Option<Deflate>,
}

impl Accept {
    /// Value of `Sec-WebSocket-Accept`.
    pub fn key(&self) -> &str {
        std::str::from_utf8(&self.key).expect("base64 is ASCII")
    }

    /// Value of `Sec-WebSocket-Protocol`, when there is to be one: the only protocol that is ever
    /// chosen is `bearer`.
    pub fn protocol(&self) -> Option<&'static str> {
        self.bearer.then_some("bearer")
    }

    /// The extension that is used: the client has offered it, and nobody has declined it.
    pub fn deflate(&self) -> Option<Deflate> {
        self.deflate
    }

    /// The same without an extension.
    pub fn without_deflate(self) -> Accept {
        Accept {
            deflate: None,
            ..self
        }
    }
}

/// Why a request does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not `GET`.
    #[error("not a GET request")]
    Method,
    /// A request for the resource itself, without the wish to upgrade.
    #[error("upgrade to websocket required")]
    UpgradeRequired,
    /// Another version of the protocol; the answer names version 13.
    #[error("unsupported WebSocket version")]
    Version,
    /// The key is missing, stands twice, or is not 16 bytes in base64.
    #[error("malformed Sec-WebSocket-Key")]
    Key,
    /// A handshake has no body: its bytes would be taken for frames.
    #[error("handshake with a body")]
    Body,
    /// What is offered is no list of extensions.
    #[error(transparent)]
    Extensions(#[from] Malformed),
}

impl HandshakeError {
    /// The status of the answer. One of 426 has `Upgrade: websocket`, `Connection: Upgrade` and
    /// `Sec-WebSocket-Version: 13`.
    pub fn status(&self) -> u16 {
        match self {
            HandshakeError::Method => 405,
            HandshakeError::UpgradeRequired | HandshakeError::Version => 426,
            HandshakeError::Key | HandshakeError::Body | HandshakeError::Extensions(_) => 400,
        }
    }
}

/// What the fields of a handshake say, gathered in one pass.
#[derive(Default)]
struct Fields<'a> {
    connection_upgrade: bool,
    upgrade_websocket: bool,
    /// The only version, if there is exactly one.
    version: Single<'a>,
    key: Single<'a>,
    bearer: bool,
    extensions: Offers,
}

/// A field that must not be repeated.
#[derive(Default)]
enum Single<'a> {
    #[default]
    Missing,
    Value(&'a [u8]),
    Repeated,
}

/// Judges a handshake by its header fields, in the order and spelling in which they came.
///
/// # Errors
/// When the request does not open a WebSocket: see [`HandshakeError`].
pub fn check<'a>(
    request: HandshakeRequest,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<Accept, HandshakeError> {
    if !request.is_get {
        return Err(HandshakeError::Method);
    }
    let mut fields = Fields::default();
    for (name, value) in headers {
        fields.add(name, value);
    }
    if !(request.is_http11 && fields.connection_upgrade && fields.upgrade_websocket) {
        return Err(HandshakeError::UpgradeRequired);
    }
    if !matches!(fields.version, Single::Value(b"13")) {
        return Err(HandshakeError::Version);
    }
    if request.has_body {
        return Err(HandshakeError::Body);
    }
    let Single::Value(key) = fields.key else {
        return Err(HandshakeError::Key);
    };
    if !is_key(key) {
        return Err(HandshakeError::Key);
    }
    Ok(Accept {
        key: accept_key(key),
        bearer: fields.bearer,
        deflate: fields.extensions.accepted()?,
    })
}

/// Value of `Sec-WebSocket-Accept` for a key as it was sent (RFC 6455 section 4.2.2).
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut text = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut text);
    debug_assert_eq!(written, Ok(text.len()), "20 bytes are 28 characters");
    text
}

/// 16 bytes in base64 are 24 characters with padding.
fn is_key(key: &[u8]) -> bool {
    let mut bytes = [0; KEY_BYTES + 2];
    key.len() == 24 && LENIENT.decode_slice(key, &mut bytes) == Ok(KEY_BYTES)
}

impl<'a> Fields<'a> {
    fn add(&mut self, name: &str, value: &'a [u8]) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let lists = |token: &[u8]| elements(value).any(|one| one.eq_ignore_ascii_case(token));
        if is("connection") {
            self.connection_upgrade |= lists(b"upgrade");
        } else if is("upgrade") {
            self.upgrade_websocket |= lists(b"websocket");
        } else if is("sec-websocket-version") {
            self.version.add(value);
        } else if is("sec-websocket-key") {
            self.key.add(value);
        } else if is("sec-websocket-protocol") {
            // Names of subprotocols are case-sensitive.
            self.bearer |= elements(value).any(|one| one == b"bearer");
        } else if is("sec-websocket-extensions") {
            self.extensions.add(value);
        }
    }
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Single::Missing => Single::Value(value),
            Single::Value(_) | Single::Repeated => Single::Repeated,
        };
    }
}

/// Elements of a comma-separated list (RFC 9110 section 5.6.1).
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: HandshakeRequest = HandshakeRequest {
        is_get: true,
        is_http11: true,
        has_body: false,
    };

    const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    const CONNECTION: (&str, &str) = ("Connection", "Upgrade");
    const UPGRADE: (&str, &str) = ("Upgrade", "websocket");
    const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");

    fn of(request: HandshakeRequest, fields: &[(&str, &str)]) -> Result<Accept, HandshakeError> {
        let fields = fields.iter();
        check(
            request,
            fields.map(|(name, value)| (*name, value.as_bytes())),
        )
    }

    fn with(field: (&str, &str)) -> Result<Accept, HandshakeError> {
        of(REQUEST, &[KEY, CONNECTION, UPGRADE, VERSION, field])
    }

    fn with_key(key: &str) -> Result<Accept, HandshakeError> {
        of(REQUEST, &[CONNECTION, UPGRADE, VERSION, (KEY.0, key)])
    }

    #[test]
    fn example_of_the_rfc() {
        // RFC 6455 section 1.3.
        let accept = of(REQUEST, &[KEY, CONNECTION, UPGRADE, VERSION]).unwrap();
        assert_eq!(accept.key(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accept.protocol(), None);
    }

    #[test]
    fn values_are_lists_in_any_case() {
        let fields = [
            ("connection", "keep-alive"),
            ("CONNECTION", "x , UPGRADE"),
            ("upgrade", "h2c,WebSocket"),
            VERSION,
            KEY,
        ];
        assert!(of(REQUEST, &fields).is_ok());
    }

    #[test]
    fn permessage_deflate_is_the_only_extension() {
        let offer = |value| with(("sec-websocket-extensions", value));
        let accept = offer("permessage-deflate; server_max_window_bits=9").unwrap();
        assert_eq!(accept.deflate().unwrap().window_bits(), 9);
        assert_eq!(accept.without_deflate().deflate(), None);
        assert_eq!(offer("x-other").unwrap().deflate(), None);
        let error = offer("permessage-deflate;").unwrap_err();
        assert_eq!(error, HandshakeError::Extensions(Malformed));
        assert_eq!(error.status(), 400);
    }

    #[test]
    fn bearer_is_the_only_protocol() {
        let name = "Sec-WebSocket-Protocol";
        let chosen = |value| with((name, value)).unwrap().protocol();
        assert_eq!(chosen("bearer, bearer.a.b.c"), Some("bearer"));
        assert_eq!(chosen("chat,bearer"), Some("bearer"));
        assert_eq!(chosen("chat, Bearer, bearer.a"), None);
    }

    #[test]
    fn a_plain_get_requires_an_upgrade() {
        let required = Err(HandshakeError::UpgradeRequired);
        assert_eq!(of(REQUEST, &[]), required);
        assert_eq!(of(REQUEST, &[KEY, UPGRADE, VERSION]), required);
        assert_eq!(of(REQUEST, &[KEY, CONNECTION, VERSION]), required);
        let other = [KEY, CONNECTION, ("Upgrade", "h2c"), VERSION];
        assert_eq!(of(REQUEST, &other), required);
        let old = HandshakeRequest {
            is_http11: false,
            ..REQUEST
        };
        assert_eq!(of(old, &[KEY, CONNECTION, UPGRADE, VERSION]), required);
        assert_eq!(HandshakeError::UpgradeRequired.status(), 426);
    }

    #[test]
    fn other_versions_are_told_ours() {
        let fields = [KEY, CONNECTION, UPGRADE];
        assert_eq!(of(REQUEST, &fields), Err(HandshakeError::Version));
        for version in ["8", "13, 8", "013", ""] {
            let fields = [KEY, CONNECTION, UPGRADE, (VERSION.0, version)];
            assert_eq!(
                of(REQUEST, &fields),
                Err(HandshakeError::Version),
                "{version}"
            );
        }
        assert_eq!(with(VERSION), Err(HandshakeError::Version), "repeated");
        assert_eq!(HandshakeError::Version.status(), 426);
    }

    #[test]
    fn the_key_is_sixteen_bytes() {
        let fields = [CONNECTION, UPGRADE, VERSION];
        assert_eq!(of(REQUEST, &fields), Err(HandshakeError::Key));
        assert_eq!(with(KEY), Err(HandshakeError::Key), "repeated");
        let malformed = [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZWE=",
            "dGhlIHNhbXBsZSBub25jZWFh",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25j!Q==",
            "dGhlIHNhbXBsZSBub25jZQ==,",
            "dGhlIHNhbXBsZSBub25jZQ== , x",
        ];
        for key in malformed {
            assert_eq!(with_key(key), Err(HandshakeError::Key), "{key}");
        }
        assert!(
            with_key("AAAAAAAAAAAAAAAAAAAAAB==").is_ok(),
            "bits behind the last byte"
        );
        assert_eq!(HandshakeError::Key.status(), 400);
    }

    #[test]
    fn other_methods_and_bodies() {
        let fields = [KEY, CONNECTION, UPGRADE, VERSION];
        let post = HandshakeRequest {
            is_get: false,
            ..REQUEST
        };
        let body = HandshakeRequest {
            has_body: true,
            ..REQUEST
        };
        assert_eq!(of(post, &fields), Err(HandshakeError::Method));
        assert_eq!(of(body, &fields), Err(HandshakeError::Body));
        assert_eq!(HandshakeError::Method.status(), 405);
        assert_eq!(HandshakeError::Body.status(), 400);
    }
}
