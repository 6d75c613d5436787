//! Lines as bulks, in their order.

use std::collections::BTreeSet;

use serde_json::Value;

use super::input::Line;
use super::progress::Progress;
use super::sending::{self, Sending};
use super::{Form, print};
use crate::client::failure::{Failure, FailureKind};

const ROUTE: &str = "/api/v1/messages/bulk";

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
        let mut patience = self.sending.patience();
        while !items.is_empty() {
            let body = body(&items);
            let answer = self.sending.send(ROUTE, body.as_bytes(), &mut patience)?;
            let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
            match answer.status {
                207 => {
                    let before = items.len();
                    items = self.settle(items, &said)?;
                    let is_remembered = answer.is_replayed && !patience.is_over();
                    if !items.is_empty() && !is_remembered {
                        let sentence = "the server takes no messages in time";
                        return Err(Failure::new(FailureKind::Unreachable, sentence));
                    }
                    if items.len() < before {
                        patience = self.sending.patience();
                    }
                }
                413 | 422 => {
                    items = self.sort_out(items, answer.status, &said)?;
                    patience = self.sending.patience();
                }
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
            wrong(said, items.len())
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

/// Which messages of a bulk of so many are wrong (SPEC section 4: `["body","messages",1,…]`).
fn wrong(said: &Value, count: usize) -> BTreeSet<usize> {
    let entries = said["detail"].as_array().into_iter().flatten();
    let index = |entry: &Value| usize::try_from(entry["loc"][2].as_u64()?).ok();
    let indices = entries.filter_map(index);
    indices.filter(|index| *index < count).collect()
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
    use crate::client::remote::{Credential, Remote};
    use crate::client::url::ServerUrl;
    use serde_json::json;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn the_servers_list_says_which_lines_are_wrong() {
        let said = json!({"detail": [
            {"loc": ["body", "messages", 1, "ttl"], "msg": "too small"},
            {"loc": ["body", "messages", 3, "payload"], "msg": "no"},
            {"loc": ["body", "messages", 1, "payload"], "msg": "no"},
        ]});
        assert_eq!(wrong(&said, 4), BTreeSet::from([1, 3]));
        assert_eq!(wrong(&said, 1), BTreeSet::new(), "there is no such line");
        assert_eq!(why(&said, 1), "ttl: too small");
        assert!(wrong(&json!({"detail": "a text"}), 4).is_empty());
        assert_eq!(why(&json!({"message": "Too large"}), 0), "Too large");
    }

    /// Key and messages of a request.
    type Request = (String, Vec<u64>);

    /// Publishes so many lines; the server gives these answers in turn. Returns what it was sent, how it ended,
    /// and how many messages were published.
    fn published(
        lines: u64,
        retry_for: Duration,
        answers: &[&str],
    ) -> (Vec<Request>, Result<(), Failure>, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let remote = Remote {
            url: ServerUrl::parse(&url).unwrap(),
            credential: Credential::None,
            authorities: None,
            identity: None,
            timeout: Duration::from_secs(10),
        };
        let form = Form {
            front: "{\"payload\":".to_owned(),
            back: "}".to_owned(),
            is_text: false,
        };
        let sending = Sending::new(&remote, Some(retry_for)).unwrap();
        let mut bulks = Bulks::new(form, sending, false, Progress::start(true));
        let lines = (0..lines).map(|number| Line {
            number,
            text: Some(format!("{{\"n\":{number}}}").into_bytes()),
        });
        thread::scope(|scope| {
            let serving = scope.spawn(|| answers.iter().map(|it| answer(&listener, it)).collect());
            let ended = bulks.publish(lines.collect());
            (serving.join().unwrap(), ended, bulks.progress.published)
        })
    }

    /// Takes one request and answers it: `+` is an accepted message, `-` a rejected one, and an `r` in front
    /// of them makes it a remembered answer. Anything else is the body of a 422.
    fn answer(listener: &TcpListener, answer: &str) -> Request {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, text)) if name.eq_ignore_ascii_case("idempotency-key") => {
                    text.clone_into(&mut key);
                }
                Some((name, text)) if name.eq_ignore_ascii_case("content-length") => {
                    length = text.parse().unwrap();
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let said: Value = serde_json::from_slice(&body).unwrap();
        let numbers = said["messages"].as_array().unwrap().iter();
        let numbers = numbers.map(|it| it["payload"]["n"].as_u64().unwrap());
        let (status, replayed, body) = match answer.strip_prefix('r') {
            Some(signs) => (207, "Idempotent-Replayed: true\r\n", results(signs)),
            None if answer.starts_with('{') => (422, "", answer.to_owned()),
            None => (207, "", results(answer)),
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status} X\r\nConnection: close\r\n{replayed}Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        (key, numbers.collect())
    }

    fn results(signs: &str) -> String {
        let status = |sign| if sign == '+' { "accepted" } else { "rejected" };
        let results: Vec<Value> = signs
            .chars()
            .map(|sign| json!({"status": status(sign)}))
            .collect();
        let rejected = signs.matches('-').count();
        json!({"results": results, "summary": {"rejected": rejected}}).to_string()
    }

    #[test]
    fn what_was_not_confirmed_is_repeated_under_its_key() {
        let minute = Duration::from_secs(60);
        let (requests, ended, published) = published(2, minute, &["--", "+-", "++"]);
        ended.unwrap();
        assert_eq!(published, 2);
        assert!(requests.iter().all(|it| it.1 == [0, 1]), "{requests:?}");
        let keys: BTreeSet<&String> = requests.iter().map(|it| &it.0).collect();
        assert_eq!(keys.len(), 1, "{requests:?}");
    }

    #[test]
    fn what_a_server_remembers_as_rejected_comes_under_a_new_key() {
        let minute = Duration::from_secs(60);
        let answers = ["-+-", "r-+-", "--", "r--", "++"];
        let (requests, ended, published) = published(3, minute, &answers);
        ended.unwrap();
        assert_eq!(published, 3);
        let numbers: Vec<&[u64]> = requests.iter().map(|it| &*it.1).collect();
        assert_eq!(
            numbers,
            [&[0, 1, 2][..], &[0, 1, 2], &[0, 2], &[0, 2], &[0, 2]]
        );
        let keys: BTreeSet<&String> = requests.iter().map(|it| &it.0).collect();
        assert_eq!(keys.len(), 3, "{requests:?}");
    }

    #[test]
    fn a_server_without_room_is_not_asked_again_when_time_is_up() {
        for answers in [["+-"], ["r+-"]] {
            let (_, ended, published) = published(2, Duration::ZERO, &answers);
            assert_eq!(ended.unwrap_err().kind(), FailureKind::Unreachable);
            assert_eq!(published, 1);
        }
    }

    #[test]
    fn a_list_of_lines_that_do_not_exist_is_no_list() {
        let nowhere = r#"{"detail":[{"loc":["body","messages",7],"msg":"no"}]}"#;
        let (requests, ended, published) = published(2, Duration::ZERO, &[nowhere, nowhere, "+"]);
        ended.unwrap();
        let numbers: Vec<&[u64]> = requests.iter().map(|it| &*it.1).collect();
        assert_eq!((numbers, published), (vec![&[0, 1][..], &[0], &[1]], 1));
    }
}
