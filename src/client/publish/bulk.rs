//! Lines as bulks, in their order.

use std::collections::BTreeSet;
use std::thread;

use serde_json::Value;

use super::input::Line;
use super::progress::Progress;
use super::sending::{self, Sending};
use super::{Form, print};
use crate::client::backoff::Backoff;
use crate::client::failure::{Failure, FailureKind};

const ROUTE: &str = "/api/v1/messages/bulk";
/// Times that a message is sent again for which a server had no room.
const ROOM_TRIES_MAX: u32 = 8;

/// Publishes lines.
#[derive(Debug)]
pub(super) struct Bulks {
    form: Form,
    sending: Sending,
    is_json: bool,
    progress: Progress,
}

/// A line that is a message.
#[derive(Debug)]
struct Item {
    number: u64,
    message: String,
}

impl Bulks {
    pub(super) fn new(form: Form, sending: Sending, is_json: bool, progress: Progress) -> Bulks {
        Bulks {
            form,
            sending,
            is_json,
            progress,
        }
    }

    /// Publishes these lines, or says of each why it is refused. Empty ones are nothing.
    ///
    /// # Errors
    /// When the server takes none.
    pub(super) fn publish(&mut self, lines: Vec<Line>) -> Result<(), Failure> {
        let mut items = Vec::with_capacity(lines.len());
        for Line { number, text } in lines {
            let payload = match &text {
                Some(text) if text.trim_ascii().is_empty() => continue,
                Some(text) => self.form.payload(text),
                None => Err("it is longer than 64 MiB"),
            };
            match payload {
                Ok(payload) => items.push(Item {
                    number,
                    message: self.form.message(&payload),
                }),
                Err(why) => self.refuse(number, why),
            }
        }
        let first = items.first().map_or(0, |item| item.number);
        self.send(items).map_err(|failure| {
            let sentence = format!("{failure} (lines before {first} are done with)");
            Failure::new(failure.kind(), sentence)
        })?;
        self.progress.show();
        Ok(())
    }

    /// The summary. `trouble` is why the input could not be read to its end.
    ///
    /// # Errors
    /// When something was refused, or not read.
    pub(super) fn finish(self, trouble: Option<String>) -> Result<(), Failure> {
        self.progress.finish();
        let failed = |sentence| Err(Failure::new(FailureKind::Failed, sentence));
        match (trouble, self.progress.refused) {
            (Some(trouble), _) => failed(format!("standard input: {trouble}")),
            (None, 0) => Ok(()),
            (None, 1) => failed("one line was refused".to_owned()),
            (None, lines) => failed(format!("{lines} lines were refused")),
        }
    }

    fn send(&mut self, mut items: Vec<Item>) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        let mut tries = 0;
        while !items.is_empty() {
            let answer = self.sending.send(ROUTE, body(&items).as_bytes())?;
            let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
            match answer.status {
                207 => {
                    let before = items.len();
                    items = self.settle(items, &said)?;
                    tries = if items.len() < before { 0 } else { tries + 1 };
                    if !items.is_empty() {
                        if tries > ROOM_TRIES_MAX {
                            let sentence = "the server has no room for messages";
                            return Err(Failure::new(FailureKind::Unreachable, sentence));
                        }
                        thread::sleep(backoff.next());
                    }
                }
                413 | 422 => items = self.sort_out(items, answer.status, &said)?,
                _ => return Err(sending::refused(&answer)),
            }
        }
        Ok(())
    }

    /// Says which lines are wrong; the rest is to be sent again. Where the server does not tell which,
    /// halves are tried.
    fn sort_out(
        &mut self,
        mut items: Vec<Item>,
        status: u16,
        said: &Value,
    ) -> Result<Vec<Item>, Failure> {
        let mut wrong = if status == 422 {
            wrong(said)
        } else {
            BTreeSet::new()
        };
        if wrong.is_empty() && items.len() > 1 {
            let rest = items.split_off(items.len() / 2);
            self.send(items)?;
            return Ok(rest);
        }
        if wrong.is_empty() {
            wrong.insert(0);
        }
        let mut kept = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            if wrong.contains(&index) {
                self.refuse(item.number, &why(said, index));
            } else {
                kept.push(item);
            }
        }
        Ok(kept)
    }

    /// Counts what is stored; the rest is to be sent again.
    fn settle(&mut self, items: Vec<Item>, said: &Value) -> Result<Vec<Item>, Failure> {
        let mut again = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let result = &said["results"][index];
            if result["status"] != "accepted" {
                again.push(item);
                continue;
            }
            self.progress.published += 1;
            if self.is_json {
                print(&result.to_string())?;
            }
        }
        Ok(again)
    }

    fn refuse(&mut self, number: u64, why: &str) {
        self.progress.refused += 1;
        self.progress
            .tell(&format!("line {number} is refused: {why}"));
    }
}

fn body(items: &[Item]) -> String {
    let messages: Vec<&str> = items.iter().map(|item| item.message.as_str()).collect();
    format!("{{\"messages\":[{}]}}", messages.join(","))
}

/// Which messages of a bulk are wrong (SPEC section 4: `["body","messages",1,…]`).
fn wrong(said: &Value) -> BTreeSet<usize> {
    let entries = said["detail"].as_array().into_iter().flatten();
    let index = |entry: &Value| usize::try_from(entry["loc"][2].as_u64()?).ok();
    entries.filter_map(index).collect()
}

/// What is wrong with one of them.
fn why(said: &Value, index: usize) -> String {
    let mut entries = said["detail"].as_array().into_iter().flatten();
    let is_it = |entry: &&Value| entry["loc"][2].as_u64() == Some(index as u64);
    let entry = entries.find(is_it).unwrap_or(said);
    let told = entry["msg"].as_str().or_else(|| entry["message"].as_str());
    let place = entry["loc"][3]
        .as_str()
        .map_or(String::new(), |it| format!("{it}: "));
    format!("{place}{}", told.unwrap_or("the server says no"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_servers_list_says_which_lines_are_wrong() {
        let said = json!({"detail": [
            {"loc": ["body", "messages", 1, "ttl"], "msg": "too small"},
            {"loc": ["body", "messages", 3, "payload"], "msg": "no"},
            {"loc": ["body", "messages", 1, "payload"], "msg": "no"},
        ]});
        assert_eq!(wrong(&said), BTreeSet::from([1, 3]));
        assert_eq!(why(&said, 1), "ttl: too small");
        assert!(wrong(&json!({"detail": "a text"})).is_empty());
        assert_eq!(why(&json!({"message": "Too large"}), 0), "Too large");
    }
}
