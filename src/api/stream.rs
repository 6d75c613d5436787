//! Streams: what `GET /api/v1/stream` asks for, and how its answer is written (SPEC section 8).

use crate::topic::TopicName;

use super::command::{OnLag, TOPICS_MAX};
use super::consumer::AtLeastOnce;
use super::offset::Offset;
use super::poll;
use super::query::Reader;
use super::validation::ValidationErrors;
use super::validation::report::{Input, Problem, Step};

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
