//! What became of acknowledgements (SPEC sections 5 and 7).

use crate::api::json::{append_joined, append_number, append_string};

/// Why an id was not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AckError {
    /// The message is not waiting for an acknowledgement of this consumer.
    NotPending,
    /// Another member of the group got it meanwhile.
    Reassigned,
    /// No message of this id is kept.
    Unknown,
}

impl AckError {
    /// All of them.
    pub const ALL: [AckError; 3] = [
        AckError::NotPending,
        AckError::Reassigned,
        AckError::Unknown,
    ];

    /// The error as text.
    pub fn as_str(self) -> &'static str {
        match self {
            AckError::NotPending => "NOT_PENDING",
            AckError::Reassigned => "REASSIGNED",
            AckError::Unknown => "UNKNOWN",
        }
    }
}

/// Appends `acked`: how many ids were acknowledged, and the others as they were sent. Over HTTP it
/// is the body and has no type.
pub fn acked(out: &mut Vec<u8>, acknowledged: usize, failed: &[(&str, AckError)], with_type: bool) {
    let front: &[u8] = if with_type {
        b"{\"type\":\"acked\",\"acknowledged\":"
    } else {
        b"{\"acknowledged\":"
    };
    out.extend_from_slice(front);
    append_number(out, acknowledged as u64);
    out.extend_from_slice(b",\"failed\":[");
    append_joined(out, failed, |out, (id, error)| {
        out.extend_from_slice(b"{\"message_id\":");
        append_string(out, id);
        out.extend_from_slice(b",\"error\":");
        append_string(out, error.as_str());
        out.push(b'}');
    });
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_failed_as_it_was_sent() {
        let mut out = Vec::new();
        acked(&mut out, 2, &[], true);
        assert_eq!(out, br#"{"type":"acked","acknowledged":2,"failed":[]}"#);
        let failed = [("a\"\n", AckError::Unknown), ("b", AckError::Reassigned)];
        out.clear();
        acked(&mut out, 0, &failed, false);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"acknowledged":0,"failed":[{"message_id":"a\"\n","error":"UNKNOWN"},{"message_id":"b","error":"REASSIGNED"}]}"#
        );
    }
}
