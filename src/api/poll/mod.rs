//! Long polls, as both forms ask for them (SPEC section 6).

use crate::topic::{MessageId, Start, TopicName};

use super::command::TOPICS_MAX;
use super::consumer::AtLeastOnce;
use super::offset::Offset;
use super::query::Reader;
use super::validation::body::Body;
use super::validation::report::Problem;
use super::validation::{ValidationErrors, topic_problem};

/// Most topics of one poll of the relay form.
pub const RELAY_TOPICS_MAX: usize = 20;
/// Most messages of one answer, in both forms; of one topic in the relay form.
pub const LIMIT_MAX: u32 = 100;
/// Longest wait, in seconds, in both forms.
pub const TIMEOUT_SECONDS_MAX: u32 = 60;

const LIMIT_DEFAULT: u32 = 10;
const TIMEOUT_SECONDS_DEFAULT: u32 = 30;

/// What a long poll asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PollRequest {
    /// At least one, each once, in the order asked.
    pub topics: Vec<TopicName>,
    /// Where to start.
    pub since: Since,
    /// Longest wait in microseconds, at most [`TIMEOUT_SECONDS_MAX`].
    pub timeout: u64,
    /// Most messages of the answer, 1 to [`LIMIT_MAX`]; in the relay form, of each topic.
    pub limit: usize,
    /// How it asks and is answered.
    pub form: PollForm,
    /// Messages are owed until they are acknowledged; `None` for at most once.
    pub consumer: Option<AtLeastOnce>,
}

/// The two forms of long poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollForm {
    /// `GET /api/v1/poll`
    Query,
    /// `POST /messages/poll`
    Relay,
}

/// Where a poll starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Since {
    /// With what comes.
    Now,
    /// At one place for all topics, or at those of a cursor.
    Offset(Offset),
    /// One for each topic, in their order.
    Relay(Vec<Start>),
}

impl Since {
    /// Where to start in the topic of this index and name.
    pub fn start(&self, index: usize, topic: &TopicName) -> Start {
        match self {
            Since::Now => Start::Last,
            Since::Offset(offset) => offset.start(topic),
            Since::Relay(starts) => starts.get(index).copied().unwrap_or(Start::Last),
        }
    }
}

impl PollRequest {
    /// Reads the query of `GET /api/v1/poll`, without its `?`.
    ///
    /// # Errors
    /// All that breaks a rule of SPEC section 6.
    pub fn of_query(query: Option<&str>) -> Result<PollRequest, ValidationErrors> {
        let own = ["topics", "since", "timeout", "limit"];
        let names = [&own[..], &Reader::CONSUMER].concat();
        let mut reader = Reader::new(query, &names);
        let topics = reader.topics(TOPICS_MAX);
        let since = since(&mut reader);
        let timeout = reader.integer("timeout", 0..=TIMEOUT_SECONDS_MAX, TIMEOUT_SECONDS_DEFAULT);
        let limit = reader.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT);
        let consumer = reader.consumer();
        reader.finish(PollRequest {
            topics,
            since: since.map_or(Since::Now, Since::Offset),
            timeout: micros(timeout),
            limit: limit as usize,
            form: PollForm::Query,
            consumer,
        })
    }

    /// Reads the body of `POST /messages/poll`. `content_type` is the first header of that name.
    ///
    /// # Errors
    /// All that breaks a rule of SPEC section 6, or why the body is no JSON object.
    pub fn of_body(
        body: &[u8],
        content_type: Option<&[u8]>,
    ) -> Result<PollRequest, ValidationErrors> {
        let mut body = Body::read(body, content_type, ["topics", "since", "timeout"])?;
        let topics = relay_topics(&mut body)?;
        let mut starts = vec![Start::Earliest; topics.len()];
        let has_since = body.strings("since", |topic, id| {
            let index = topics.iter().position(|name| name.as_str() == topic);
            if let Some(index) = index {
                starts[index] = MessageId::parse(id).map_or(Start::Earliest, Start::Behind);
            }
        })?;
        let bounds = (1, TIMEOUT_SECONDS_MAX);
        let timeout = body.integer("timeout", bounds, TIMEOUT_SECONDS_DEFAULT);
        let since = if has_since {
            Since::Relay(starts)
        } else {
            Since::Now
        };
        body.finish(PollRequest {
            topics,
            since,
            timeout: micros(timeout),
            limit: LIMIT_MAX as usize,
            form: PollForm::Relay,
            consumer: None,
        })
    }
}

/// The place that `since` names.
pub(super) fn since(reader: &mut Reader<'_>) -> Option<Offset> {
    reader.read("since", None, |text| match Offset::parse(text) {
        None => Err(Problem::Rule("since must be a message id or a cursor")),
        offset => Ok(offset),
    })
}

fn relay_topics<const N: usize>(
    body: &mut Body<'_, N>,
) -> Result<Vec<TopicName>, ValidationErrors> {
    let mut topics: Vec<TopicName> = Vec::new();
    let elements = body.list("topics", RELAY_TOPICS_MAX);
    for (index, span) in elements.into_iter().enumerate() {
        let Some(name) = body.element("topics", index, span)? else {
            continue;
        };
        match TopicName::parse(&name) {
            Ok(topic) if topics.contains(&topic) => {}
            Ok(topic) => topics.push(topic),
            Err(error) => body.element_is("topics", index, span, topic_problem(error)),
        }
    }
    Ok(topics)
}

fn micros(seconds: u32) -> u64 {
    u64::from(seconds) * 1_000_000
}

#[cfg(test)]
mod tests;
