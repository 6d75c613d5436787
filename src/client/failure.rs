//! Why a command has failed, and the exit code that says so.

use std::fmt::Display;

use super::harmless::harmless;

/// What kind of failure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// The server refused, or something else went wrong.
    Failed,
    /// The command line, or a file that it names, is wrong.
    Usage,
    /// The server cannot be reached, or did not answer in time.
    Unreachable,
    /// The credential is missing, not accepted, or does not allow this.
    Denied,
    /// Another client of the same name has taken over.
    Replaced,
}

impl FailureKind {
    /// The exit code of the program; `docs/CLI.md` lists them.
    pub fn exit_code(self) -> u8 {
        match self {
            FailureKind::Failed => 1,
            FailureKind::Usage => 2,
            FailureKind::Unreachable => 3,
            FailureKind::Denied => 4,
            FailureKind::Replaced => 5,
        }
    }
}

/// A failure in one sentence, which shows no credential and commands no terminal, whoever's words are in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    kind: FailureKind,
    sentence: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, sentence: impl Display) -> Failure {
        Failure {
            kind,
            sentence: harmless(&sentence.to_string()).into_owned(),
        }
    }

    /// Of what kind it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_are_words() {
        let failure = Failure::new(FailureKind::Failed, "it says: \u{1b}]0;x\u{7}");
        assert_eq!(failure.to_string(), "it says: \\u001b]0;x\\u0007");
    }
}
