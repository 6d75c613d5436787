//! A cursor that is read is its own text, and starts somewhere in every topic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::api::offset::Offset;
use pulsar_proxy::topic::{Cursor, TopicName};

fuzz_target!(|text: &str| {
    let cursor = Cursor::parse(text);
    if let Ok(cursor) = &cursor {
        assert!(text.len() <= Cursor::LEN_MAX);
        assert_eq!(cursor.to_string(), text);
    }
    match Offset::parse(text) {
        Some(offset) => {
            let name = TopicName::parse("a").expect("a letter is a name");
            offset.start(&name);
        }
        None => assert!(cursor.is_err()),
    }
});
