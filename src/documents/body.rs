//! One document as it is sent: plain or gzipped, and recognised by a tag.

use std::io::{Read as _, Write as _};
use std::sync::OnceLock;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// How the bytes of a document are coded (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// As they are.
    Identity,
    /// `gzip`
    Gzip,
}

/// The bytes of a document. What it does not have in one of the codings is made when it is first asked
/// for, once for the process: a few milliseconds for the largest.
#[derive(Debug)]
pub struct Body {
    content_type: &'static str,
    /// Made when it is first asked for: a server starts at once.
    tag: OnceLock<String>,
    plain: OnceLock<Vec<u8>>,
    packed: OnceLock<Vec<u8>>,
    /// What is in the program, gzipped; empty where it is not.
    source: &'static [u8],
}

impl Body {
    /// Of a text.
    pub(super) fn plain(content_type: &'static str, text: String) -> Body {
        Body {
            content_type,
            tag: OnceLock::new(),
            plain: OnceLock::from(text.into_bytes()),
            packed: OnceLock::new(),
            source: b"",
        }
    }

    /// Of gzipped bytes of the program.
    pub(super) fn packed(content_type: &'static str, source: &'static [u8]) -> Body {
        Body {
            content_type,
            tag: OnceLock::new(),
            plain: OnceLock::new(),
            packed: OnceLock::new(),
            source,
        }
    }

    /// Its type, as HTTP names it.
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Its entity tag in a coding, with its quotes (RFC 9110 section 8.8.3).
    pub fn tag(&self, coding: Coding) -> String {
        let kept = match self.source {
            b"" => self.identity(),
            source => source,
        };
        let tag = self.tag.get_or_init(|| tag(kept));
        match coding {
            Coding::Identity => format!("\"{tag}\""),
            Coding::Gzip => format!("\"{tag}-gzip\""),
        }
    }

    /// Its bytes in a coding.
    pub fn bytes(&'static self, coding: Coding) -> &'static [u8] {
        match coding {
            Coding::Gzip if !self.source.is_empty() => self.source,
            Coding::Gzip => self.packed.get_or_init(|| pack(self.identity())),
            Coding::Identity => self.identity(),
        }
    }

    fn identity(&self) -> &[u8] {
        self.plain.get_or_init(|| unpack(self.source))
    }
}

fn tag(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("memory takes all that is written")
}

fn unpack(source: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = GzDecoder::new(source).read_to_end(&mut bytes);
    read.expect("what is built in was packed whole");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_codings_are_of_one_text() {
        let text = "a ".repeat(1000);
        let body: &Body = Box::leak(Box::new(Body::plain("text/plain", text.clone())));
        assert_eq!(body.bytes(Coding::Identity), text.as_bytes());
        let packed = body.bytes(Coding::Gzip);
        assert!(packed.len() < 100);
        assert_eq!(unpack(packed), text.as_bytes());
        let source: &[u8] = Box::leak(pack(text.as_bytes()).into());
        let body: &Body = Box::leak(Box::new(Body::packed("text/plain", source)));
        assert_eq!(
            body.bytes(Coding::Gzip).as_ptr(),
            source.as_ptr(),
            "not a copy"
        );
        assert_eq!(body.bytes(Coding::Identity), text.as_bytes());
        assert_ne!(body.tag(Coding::Gzip), body.tag(Coding::Identity));
    }
}
