//! Leaves a server that was there before as it was.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::Outcome;
use super::target::Target;
use super::wire::decode_answer;

/// Deletes the topics of a load; returns how many are left, since that needs a right of its own.
pub(super) fn delete_topics(target: &Target, topics: usize) -> usize {
    let Ok(mut stream) = target.connect() else {
        return topics;
    };
    for index in 0..topics {
        match delete(target, &mut stream, &target.topic(index)) {
            // Not found is gone as well: nothing was published to it.
            Ok(204 | 404) => {}
            _ => return topics - index,
        }
    }
    0
}

/// The status that the server answers with.
fn delete(target: &Target, stream: &mut TcpStream, topic: &str) -> Outcome<u16> {
    let head = target.head("DELETE", &format!("/api/v1/topics/{topic}"));
    stream.write_all((head + "\r\n").as_bytes())?;
    let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if let Some((answer, _)) = decode_answer(&input)? {
            return Ok(answer.status);
        }
        match stream.read(&mut chunk)? {
            0 => return Err("the server closed the connection".into()),
            count => input.extend_from_slice(&chunk[..count]),
        }
    }
}
