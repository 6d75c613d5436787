//! Which extension is used (RFC 6455 section 9.1, RFC 7692 section 7.1): permessage-deflate, as the
//! first offer asks for it that can be accepted, or none.

use std::num::NonZeroU8;

use super::deflate::WINDOW_BITS_MAX;

/// A field that is no list of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed Sec-WebSocket-Extensions")]
pub struct Malformed;

/// What was agreed on for permessage-deflate. Neither side refers to earlier messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The client's window as a power of two, with [`ASKED`] if it asks for that bound: one byte,
    /// also with none beside it, since every WebSocket has it.
    window: NonZeroU8,
}

/// The client asks for a bound of 8 to 15.
const ASKED: u8 = 0x80;

impl Deflate {
    fn new(server_max_window_bits: Option<u8>) -> Deflate {
        let window = server_max_window_bits.map_or(WINDOW_BITS_MAX, |bits| bits | ASKED);
        Deflate {
            window: NonZeroU8::new(window).expect("8 to 15, or more with the mark"),
        }
    }

    /// Value of `Sec-WebSocket-Extensions` in the answer.
    ///
    /// `client_no_context_takeover` stands there unasked (RFC 7692 section 7.1.1.2): an idle
    /// connection must not cost a window. A bound for the client's window would save nothing and is
    /// never set.
    pub fn response(self) -> String {
        let mut response =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if self.window.get() & ASKED != 0 {
            let bits = self.window_bits();
            response.push_str(&format!("; server_max_window_bits={bits}"));
        }
        response
    }

    /// The window that the client inflates with, as a power of two.
    pub fn window_bits(self) -> u8 {
        self.window.get() & !ASKED
    }

    /// Whether the client can inflate what is compressed once for everybody. One with a smaller
    /// window gets plain messages, as it may (RFC 7692 section 6): to compress each delivery for it
    /// alone costs more than it is worth to the few that ask.
    pub fn takes_shared(self) -> bool {
        self.window_bits() == WINDOW_BITS_MAX
    }
}

/// The offers of a handshake, whose field may come in several lines.
#[derive(Clone, Copy, Default, Debug)]
pub struct Offers {
    accepted: Option<Deflate>,
    is_malformed: bool,
}

impl Offers {
    /// Takes the value of one line. Of several offers, the first that can be accepted is: the
    /// others are for servers that cannot.
    pub fn add(&mut self, value: &[u8]) {
        match parse(value) {
            Ok(accepted) => self.accepted = self.accepted.or(accepted),
            Err(Malformed) => self.is_malformed = true,
        }
    }

    /// What can be accepted.
    ///
    /// # Errors
    /// When a line did not conform to the grammar; then there must be no WebSocket (RFC 6455
    /// section 9.1).
    pub fn accepted(self) -> Result<Option<Deflate>, Malformed> {
        if self.is_malformed {
            return Err(Malformed);
        }
        Ok(self.accepted)
    }
}

fn parse(value: &[u8]) -> Result<Option<Deflate>, Malformed> {
    let mut cursor = Cursor(value);
    let mut accepted = None;
    loop {
        // Empty elements are no offers (RFC 9110 section 5.6.1.2).
        while cursor.eats(b',') {}
        if cursor.0.is_empty() {
            return Ok(accepted);
        }
        let offer = cursor.offer()?;
        if !cursor.0.is_empty() && !cursor.eats(b',') {
            return Err(Malformed);
        }
        accepted = accepted.or(offer);
    }
}

/// Parameters of an offer of permessage-deflate.
#[derive(Default)]
struct Offer {
    /// One bit for each that was named.
    named: u8,
    server_max_window_bits: Option<u8>,
    /// A parameter is unknown, repeated or has a wrong value (RFC 7692 section 7.1).
    is_declined: bool,
}

impl Offer {
    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let (bit, is_right) = if is("server_no_context_takeover") {
            (1, value.is_none())
        } else if is("client_no_context_takeover") {
            (2, value.is_none())
        } else if is("server_max_window_bits") {
            self.server_max_window_bits = value.and_then(window_bits);
            (4, self.server_max_window_bits.is_some())
        } else if is("client_max_window_bits") {
            (8, value.is_none_or(|value| window_bits(value).is_some()))
        } else {
            (0, false)
        };
        self.is_declined |= !is_right || self.named & bit != 0;
        self.named |= bit;
    }

    fn accept(&self) -> Option<Deflate> {
        (!self.is_declined).then(|| Deflate::new(self.server_max_window_bits))
    }
}

/// 8 to 15 without leading zeros (RFC 7692 section 7.1.2.1).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// What is left of a line.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// An extension and its parameters; what is not to be used, too, must conform to the grammar.
    fn offer(&mut self) -> Result<Option<Deflate>, Malformed> {
        let is_deflate = self.token()?.eq_ignore_ascii_case(b"permessage-deflate");
        let mut offer = Offer::default();
        while self.eats(b';') {
            let name = self.token()?;
            if self.eats(b'=') {
                let mut unescaped = Vec::new();
                offer.add(name, Some(self.value(&mut unescaped)?));
            } else {
                offer.add(name, None);
            }
        }
        Ok(is_deflate.then(|| offer.accept()).flatten())
    }

    fn value<'b>(&mut self, unescaped: &'b mut Vec<u8>) -> Result<&'b [u8], Malformed>
    where
        'a: 'b,
    {
        if !self.eats(b'"') {
            return self.token();
        }
        // What is quoted must be a token all the same.
        loop {
            let escaped = self.0.strip_prefix(b"\\");
            let (byte, rest) = escaped.unwrap_or(self.0).split_first().ok_or(Malformed)?;
            self.0 = rest;
            if *byte == b'"' && escaped.is_none() {
                break;
            }
            if !is_token_byte(*byte) {
                return Err(Malformed);
            }
            unescaped.push(*byte);
        }
        self.skip_space();
        if unescaped.is_empty() {
            return Err(Malformed);
        }
        Ok(unescaped)
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        self.skip_space();
        let len = self.0.iter().take_while(|byte| is_token_byte(**byte));
        let (token, rest) = self.0.split_at(len.count());
        if token.is_empty() {
            return Err(Malformed);
        }
        self.0 = rest;
        self.skip_space();
        Ok(token)
    }

    fn eats(&mut self, byte: u8) -> bool {
        self.skip_space();
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unlimited() -> Deflate {
        Deflate::new(None)
    }

    fn accepted(lines: &[&str]) -> Result<Option<Deflate>, Malformed> {
        let mut offers = Offers::default();
        lines.iter().for_each(|line| offers.add(line.as_bytes()));
        offers.accepted()
    }

    fn window(bits: u8) -> Result<Option<Deflate>, Malformed> {
        Ok(Some(Deflate::new(Some(bits))))
    }

    #[test]
    fn offers_of_the_rfc_and_of_browsers() {
        let lines = [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits; server_no_context_takeover",
            "PerMessage-Deflate ; client_no_context_takeover;CLIENT_MAX_WINDOW_BITS=\"10\" ",
            "x-webkit-deflate-frame, permessage-deflate",
            ", ,permessage-bzip2; level = \"9\",, permessage-deflate,",
        ];
        for line in lines {
            assert_eq!(accepted(&[line]), Ok(Some(unlimited())), "{line}");
        }
        assert_eq!(
            unlimited().response(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        );
        assert!(unlimited().takes_shared());
    }

    #[test]
    fn a_window_that_is_asked_for_is_kept() {
        for bits in 8..=15 {
            let line = format!("permessage-deflate; server_max_window_bits={bits}");
            assert_eq!(accepted(&[&line]), window(bits));
            let deflate = accepted(&[&line]).unwrap().unwrap();
            let response = deflate.response();
            assert!(response.ends_with(&format!("; server_max_window_bits={bits}")));
            assert_eq!(deflate.takes_shared(), bits == 15);
        }
        let quoted = r#"permessage-deflate; server_max_window_bits="1\0""#;
        assert_eq!(accepted(&[quoted]), window(10));
    }

    #[test]
    fn the_first_acceptable_offer_is_taken() {
        // RFC 7692 section 7.1.3.
        let fallback = "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
                        permessage-deflate; client_max_window_bits";
        assert_eq!(accepted(&[fallback]), window(10));
        let second = "permessage-deflate; use_y, permessage-deflate; server_max_window_bits=9";
        assert_eq!(accepted(&[second]), window(9));
        let lines = ["permessage-foo", "permessage-deflate", second];
        assert_eq!(accepted(&lines), Ok(Some(unlimited())));
    }

    #[test]
    fn what_is_unknown_or_wrong_is_declined() {
        let lines = [
            "",
            " , ",
            "permessage-foo",
            "permessage-deflate2",
            "permessage-deflate; unknown",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=1000000000000",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"true\"",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        ];
        for line in lines {
            assert_eq!(accepted(&[line]), Ok(None), "{line}");
        }
    }

    #[test]
    fn what_is_no_list_is_malformed() {
        let lines = [
            ";",
            "=",
            "permessage-deflate;",
            "permessage-deflate permessage-deflate",
            "permessage-deflate; =10",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=\"10",
            "permessage-deflate; server_max_window_bits=\"10\\",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; server_max_window_bits=\"1 0\"",
            "permessage-deflate; server_max_window_bits=\"10\"x",
            "permessage-deflate, @",
            "permessage-deflate, é",
        ];
        for line in lines {
            assert_eq!(accepted(&[line]), Err(Malformed), "{line}");
            assert_eq!(accepted(&["permessage-deflate", line]), Err(Malformed));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(value: Vec<u8>) {
            let _ = parse(&value);
        }

        #[test]
        fn white_space_means_nothing(space in "[ \t]{0,3}") {
            let line = "permessage-deflate;server_max_window_bits=\"12\";client_max_window_bits,x;y=z,"
                .replace([';', '=', ','], &format!("{space}#{space}"));
            let signs = [";", "=", ";", ",", ";", "=", ","];
            let line = signs.iter().fold(line, |line, sign| line.replacen('#', sign, 1));
            prop_assert_eq!(accepted(&[&line]), window(12));
        }
    }
}
