//! The scripts that run on Valkey, each one atomic step.

use std::fmt::Write as _;

use hashbrown::HashMap;
use redis::Cmd;
use sha1::{Digest, Sha1};

/// Appends messages to a topic.
pub(super) const PUBLISH: &str = include_str!("publish.lua");
/// Reads a topic's stream on.
pub(super) const READ: &str = include_str!("read.lua");
/// Looks for messages by their tokens.
pub(super) const FIND: &str = include_str!("find.lua");

/// What a node has of our scripts: one that it has seen is called by its hash.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// By address, since each text is a constant: hash, and whether this connection sent the text.
    known: HashMap<usize, (String, bool)>,
}

impl Scripts {
    /// Begins a call, by text the first time: a script stays known to the node that ran it.
    pub(super) fn call(&mut self, script: &'static str, command: &mut Cmd) {
        let fresh = || (hash(script), false);
        let (hash, is_sent) = self
            .known
            .entry(script.as_ptr() as usize)
            .or_insert_with(fresh);
        if std::mem::replace(is_sent, true) {
            command.arg("EVALSHA").arg(&*hash);
        } else {
            command.arg("EVAL").arg(script);
        }
    }

    /// The node has forgotten them, or it is another one.
    pub(super) fn forget(&mut self) {
        for (_, is_sent) in self.known.values_mut() {
            *is_sent = false;
        }
    }
}

fn hash(script: &str) -> String {
    let mut text = String::with_capacity(40);
    for byte in Sha1::digest(script.as_bytes()) {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(scripts: &mut Scripts, script: &'static str) -> String {
        let mut command = Cmd::new();
        scripts.call(script, &mut command);
        String::from_utf8(command.get_packed_command()).unwrap()
    }

    #[test]
    fn the_text_goes_once_to_a_node() {
        let mut scripts = Scripts::default();
        assert!(called(&mut scripts, "return 1").contains("EVAL\r\n"));
        // printf %s 'return 1' | sha1sum
        assert!(
            called(&mut scripts, "return 1").contains("e0e1f9fabfc9d4800c877a703b823ac0578ff8db")
        );
        assert!(called(&mut scripts, READ).contains("XRANGE"));
        scripts.forget();
        assert!(called(&mut scripts, "return 1").contains("EVAL\r\n"));
    }
}
