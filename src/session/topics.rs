//! Requests for topics and their history (SPEC section 9): from a head and a body to what the store
//! is asked, and from what it said to the answer.

use super::answer::{Answer, answer};
use super::context::Context;
use super::plan::Plan;
use super::publish::{invalid, refused};
use super::request::Ticket;
use super::rights::{Rights, no_publishing, no_reading};
use super::{Effect, Turn};
use crate::api::error::ErrorCode;
use crate::api::new_topic::{NewTopic, parse_description, parse_new_topic};
use crate::api::publish::ValidationErrors;
use crate::api::route::Route;
use crate::api::topics::{self, ListRequest, QueryError};
use crate::http::{Method, RequestHead};
use crate::topic::{
    CatalogueError, Page, PageRequest, TopicDetails, TopicName, TopicSummary, TopicTotals,
};

/// A request for topics that waits for its answer.
#[derive(Debug)]
pub struct TopicsRequest {
    /// The request; goes back to [`Session::topics_answered`](super::Session::topics_answered).
    pub ticket: Ticket,
    /// What is asked.
    pub question: TopicsQuestion,
}

/// What is asked of the store.
#[derive(Debug)]
pub enum TopicsQuestion {
    /// Which topics there are.
    List(ListRequest),
    /// How much there is in all of them.
    Totals,
    /// To create one.
    Create(NewTopic),
    /// Everything about one.
    Describe(TopicName),
    /// To describe one anew.
    Update(TopicName, Option<Box<str>>),
    /// To remove one.
    Remove(TopicName),
    /// A page of its history.
    Page(TopicName, PageRequest),
}

/// What the store said.
#[derive(Debug)]
pub enum TopicsAnswer {
    /// To [`TopicsQuestion::List`].
    List(Vec<TopicSummary>),
    /// To [`TopicsQuestion::Totals`].
    Totals(TopicTotals),
    /// To [`TopicsQuestion::Create`].
    Created(TopicDetails),
    /// To [`TopicsQuestion::Describe`].
    Details(TopicDetails),
    /// To [`TopicsQuestion::Update`].
    Updated(TopicDetails),
    /// To [`TopicsQuestion::Remove`].
    Removed,
    /// To [`TopicsQuestion::Page`], with what was asked.
    Page(PageRequest, Page),
    /// To any question: topics are kept elsewhere, and it could not be asked there, as this sentence
    /// says.
    Behind(&'static str),
}

/// What a head asks; the body is still to come.
#[derive(Debug)]
pub(super) enum TopicsPlan {
    /// No body is needed.
    Ask(TopicsQuestion),
    /// The body says which.
    Create,
    /// The body says how.
    Update(TopicName),
}

/// Plans a request to one of the routes of topics. `path` is percent-decoded.
pub(super) fn plan(route: Route, head: &RequestHead<'_>, path: &str, rights: &Rights) -> Plan {
    match ask(route, head, path, rights) {
        Ok(asked) => Plan::Topics(Box::new(asked)),
        Err(refusal) => Plan::Answer(refusal),
    }
}

fn ask(
    route: Route,
    head: &RequestHead<'_>,
    path: &str,
    rights: &Rights,
) -> Result<TopicsPlan, Box<Answer<'static>>> {
    // A name that no topic can have is not found, like any that no topic has.
    let name = || {
        let name = route.name_in(path).map(TopicName::parse);
        let name = name.and_then(Result::ok);
        let name = name.ok_or_else(|| Box::new(not_found()))?;
        // Before it is known whether there is such a topic: that is none of a stranger's business.
        match head.method {
            Method::Put if !rights.may_publish(&name) => Err(Box::new(no_publishing(&name))),
            Method::Get | Method::Head if !rights.may_read(&name) => {
                Err(Box::new(no_reading(&name)))
            }
            _ => Ok(name),
        }
    };
    let question = match (route, head.method) {
        (Route::Topics, Method::Post) => return Ok(TopicsPlan::Create),
        (Route::Topics, _) => {
            TopicsQuestion::List(topics::parse_list(head.query).map_err(malformed)?)
        }
        (Route::TopicMessages, _) => {
            let name = name()?;
            let page = topics::parse_page(head.query, &name).map_err(malformed)?;
            TopicsQuestion::Page(name, page)
        }
        (Route::Topic, Method::Put) => return Ok(TopicsPlan::Update(name()?)),
        (Route::Topic, Method::Delete) => TopicsQuestion::Remove(name()?),
        (Route::Topic, _) => TopicsQuestion::Describe(name()?),
        _ => TopicsQuestion::Totals,
    };
    Ok(TopicsPlan::Ask(question))
}

/// A whole request stands: asks the store, or says what is wrong with the body.
pub(super) fn complete(
    ticket: Ticket,
    plan: TopicsPlan,
    body: &[u8],
    content_type: Option<&[u8]>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    match question(plan, body, content_type) {
        Ok(TopicsQuestion::Create(topic)) if !ticket.rights.may_publish(&topic.name) => {
            answer(&ticket, &no_publishing(&topic.name), ctx, out)
        }
        Ok(question) => Turn::effect(Effect::Topics(Box::new(TopicsRequest { ticket, question }))),
        Err(errors) => invalid(&ticket, &errors, ctx, out),
    }
}

fn question(
    plan: TopicsPlan,
    body: &[u8],
    content_type: Option<&[u8]>,
) -> Result<TopicsQuestion, ValidationErrors> {
    Ok(match plan {
        TopicsPlan::Ask(question) => question,
        TopicsPlan::Create => TopicsQuestion::Create(parse_new_topic(body, content_type)?),
        TopicsPlan::Update(name) => {
            TopicsQuestion::Update(name, parse_description(body, content_type)?)
        }
    })
}

/// Appends the answer to a request to which the store said this.
pub(super) fn answered(
    ticket: &Ticket,
    said: &Result<TopicsAnswer, CatalogueError>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let mut body = Vec::new();
    let status = match said {
        Ok(said) => match encode(said, &mut body) {
            Ok(status) => status,
            Err(sentence) => {
                let away = Answer::error(ErrorCode::ServiceUnavailable).message(sentence);
                return answer(ticket, &away, ctx, out);
            }
        },
        Err(CatalogueError::Unknown) => return answer(ticket, &not_found(), ctx, out),
        Err(CatalogueError::Exists) => {
            let conflict = Answer::error(ErrorCode::Conflict).message("The topic exists already");
            return answer(ticket, &conflict, ctx, out);
        }
        Err(CatalogueError::Store(error)) => return refused(ticket, *error, ctx, out),
    };
    let told = match status {
        204 => Answer::empty(status),
        _ => Answer::json(status, &body),
    };
    answer(ticket, &told, ctx, out)
}

/// Appends the body, and returns the status; or the sentence of a refusal.
fn encode(said: &TopicsAnswer, body: &mut Vec<u8>) -> Result<u16, &'static str> {
    match said {
        TopicsAnswer::List(list) => topics::append_list(body, list),
        TopicsAnswer::Totals(totals) => topics::append_totals(body, totals),
        TopicsAnswer::Created(topic) => {
            topics::append_created(body, topic);
            return Ok(201);
        }
        TopicsAnswer::Details(topic) => topics::append_details(body, topic),
        TopicsAnswer::Updated(topic) => topics::append_created(body, topic),
        TopicsAnswer::Removed => return Ok(204),
        TopicsAnswer::Page(request, page) => topics::append_page(body, request, page),
        TopicsAnswer::Behind(sentence) => return Err(sentence),
    }
    Ok(200)
}

fn not_found() -> Answer<'static> {
    Answer::error(ErrorCode::NotFound).message("Topic not found")
}

fn malformed(error: QueryError) -> Box<Answer<'static>> {
    let sentence = format!("The query is malformed: {error}");
    Box::new(Answer::error(ErrorCode::InvalidRequest).message(sentence))
}
