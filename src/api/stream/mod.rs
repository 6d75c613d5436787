//! Streams: what `GET /api/v1/stream` asks for, and how its answer is written (SPEC section 8).

mod write;

use crate::topic::TopicName;

use super::command::{OnLag, TOPICS_MAX};
use super::consumer::AtLeastOnce;
use super::offset::Offset;
use super::poll;
use super::query::Reader;
use super::validation::ValidationErrors;
use super::validation::report::{Input, Problem, Step};

pub use write::StreamFormat;

/// What a stream asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRequest {
    /// At least one, each once, in the order asked.
    pub topics: Vec<TopicName>,
    /// Where to start: `Last-Event-ID`, else `since`, else with what comes.
    pub offset: Offset,
    /// What to do when the client is too slow.
    pub on_lag: OnLag,
    /// Messages are owed until they are acknowledged; `None` for at most once.
    pub consumer: Option<AtLeastOnce>,
}

impl StreamRequest {
    /// Reads a query, without its `?`, and the header `Last-Event-ID`. An empty header is none, as
    /// browsers have it before the first event.
    ///
    /// # Errors
    /// All that breaks a rule.
    pub fn of_query(
        query: Option<&str>,
        last_event_id: Option<&[u8]>,
    ) -> Result<StreamRequest, ValidationErrors> {
        let own = ["topics", "since", "on_lag"];
        let names = [&own[..], &Reader::CONSUMER].concat();
        let mut reader = Reader::new(query, &names);
        let topics = reader.topics(TOPICS_MAX);
        let since = poll::since(&mut reader);
        let resumed = last_event_id
            .filter(|id| !id.is_empty())
            .and_then(|id| resumed(&mut reader, id));
        let on_lag = reader.read("on_lag", OnLag::default(), |text| match text {
            "disconnect" => Ok(OnLag::Disconnect),
            "skip" => Ok(OnLag::Skip),
            _ => Err(Problem::NotOneOf("'disconnect' or 'skip'")),
        });
        let consumer = reader.consumer();
        reader.finish(StreamRequest {
            topics,
            offset: resumed.or(since).unwrap_or(Offset::Last),
            on_lag,
            consumer,
        })
    }
}

fn resumed(reader: &mut Reader<'_>, id: &[u8]) -> Option<Offset> {
    let offset = std::str::from_utf8(id).ok().and_then(Offset::parse);
    if offset.is_none() {
        reader.report().add(
            &[Step::Name("header"), Step::Name("last-event-id")],
            Problem::Rule("Last-Event-ID must be a message id or a cursor"),
            Input::Bytes(id),
        );
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(query: &str, last_event_id: Option<&[u8]>) -> Result<StreamRequest, Value> {
        StreamRequest::of_query(Some(query), last_event_id)
            .map_err(|errors| serde_json::from_slice(errors.detail()).unwrap())
    }

    #[test]
    fn the_last_event_beats_since() {
        let plain = read("topics=a,b", None).unwrap();
        assert_eq!(
            (plain.offset, plain.on_lag),
            (Offset::Last, OnLag::Disconnect)
        );
        let stream = read("topics=a&since=earliest&on_lag=skip", Some(b"")).unwrap();
        assert_eq!(
            (stream.offset, stream.on_lag),
            (Offset::Earliest, OnLag::Skip)
        );
        let id = format!("msg_{}", "0".repeat(30));
        let resumed = read("topics=a&since=earliest", Some(id.as_bytes())).unwrap();
        assert_eq!(Some(resumed.offset), Offset::parse(&id));
        let owed = read("topics=a&client_id=c&delivery_mode=at_least_once", None).unwrap();
        assert_eq!(owed.consumer, Some(AtLeastOnce::new("c")));
    }

    #[test]
    fn what_is_wrong_is_listed() {
        let errors = read("since=x&on_lag=wait&window=1", Some(b"\xff\"")).unwrap_err();
        let places: Vec<&Value> = errors
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["loc"])
            .collect();
        assert_eq!(
            places,
            [
                &json!(["query", "topics"]),
                &json!(["query", "since"]),
                &json!(["header", "last-event-id"]),
                &json!(["query", "on_lag"]),
                &json!(["query", "window"])
            ]
        );
    }
}
