//! Reads parameters one by one by their rules. What breaks a rule goes into the report and reads as
//! the default; [`Reader::finish`] tells.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::api::consumer;
use crate::api::validation::report::{Input, Problem, Report, Step};
use crate::api::validation::{ValidationErrors, body::name_problem, integer, topic_problem};
use crate::topic::TopicName;

use super::parameters;

/// The parameters of a query that a route knows, and what is wrong with them.
pub(in crate::api) struct Reader<'q> {
    /// The last value of each name.
    values: Vec<(&'static str, Cow<'q, str>)>,
    report: Report,
}

impl<'q> Reader<'q> {
    /// Looks for parameters of these names.
    pub(in crate::api) fn new(query: Option<&'q str>, names: &[&'static str]) -> Reader<'q> {
        let mut values: Vec<(&'static str, Cow<'q, str>)> = Vec::new();
        for (name, value) in parameters(query) {
            let Some(&name) = names.iter().find(|known| **known == name) else {
                continue;
            };
            match values.iter_mut().find(|(known, _)| *known == name) {
                Some((_, last)) => *last = value,
                None => values.push((name, value)),
            }
        }
        Reader {
            values,
            report: Report::default(),
        }
    }

    /// The value as it came.
    pub(in crate::api) fn text(&self, name: &str) -> Option<Cow<'q, str>> {
        let mut values = self.values.iter();
        values
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
    }

    /// The topics, each once, in the order asked: 1 to `max`.
    pub(in crate::api) fn topics(&mut self, max: usize) -> Vec<TopicName> {
        let Some(text) = self.text("topics") else {
            self.wrong("topics", Problem::Missing);
            return Vec::new();
        };
        let mut topics: Vec<TopicName> = Vec::new();
        for name in text.split(',') {
            match TopicName::parse(name) {
                Ok(topic) if topics.contains(&topic) => {}
                Ok(_) if topics.len() == max => {
                    self.wrong("topics", Problem::Rule("at most 50 topics"));
                    break;
                }
                Ok(topic) => topics.push(topic),
                Err(error) => {
                    let problem = match topic_problem(error) {
                        Problem::StringTooShort => Problem::Rule("Topic must not be empty"),
                        Problem::StringTooLong(_) => {
                            Problem::Rule("Topic must have at most 255 characters")
                        }
                        problem => problem,
                    };
                    self.wrong("topics", problem);
                    break;
                }
            }
        }
        topics
    }

    /// An integer within bounds, or `default` when the parameter is not there.
    pub(in crate::api) fn integer(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let (min, max) = bounds.into_inner();
        self.read(name, default, |text| {
            integer::within(integer::of_text(text)?, min, max)
        })
    }

    /// A number of seconds within bounds, in microseconds; `default` when it is not there.
    pub(in crate::api) fn micros(
        &mut self,
        name: &'static str,
        (min, max): (u32, u32),
        default: u64,
    ) -> u64 {
        self.read(name, default, |text| {
            let seconds: f64 = text.trim().parse().map_err(|_| Problem::FloatParsing)?;
            if seconds > f64::from(max) {
                Err(Problem::AtMost(max))
            } else if seconds >= f64::from(min) {
                Ok(consumer::micros(seconds))
            } else {
                Err(Problem::AtLeast(min))
            }
        })
    }

    /// A truth in any of pydantic's ways; false when it is not there.
    pub(in crate::api) fn flag(&mut self, name: &'static str) -> bool {
        self.read(name, false, |text| {
            integer::flag_of_text(text).ok_or(Problem::BoolParsing)
        })
    }

    /// A name of a client or group.
    pub(in crate::api) fn name(&mut self, name: &'static str) -> Option<Box<str>> {
        self.read(name, None, |text| match name_problem(text) {
            None => Ok(Some(text.into())),
            Some(problem) => Err(problem),
        })
    }

    /// What `read` makes of the value; `default` when there is none or it is wrong.
    pub(in crate::api) fn read<T>(
        &mut self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> T {
        match self.text(name).map(|text| read(&text)) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(problem)) => {
                self.wrong(name, problem);
                default
            }
        }
    }

    /// Puts what is wrong with a parameter into the report.
    pub(in crate::api) fn wrong(&mut self, name: &'static str, problem: Problem) {
        let value = self.text(name);
        let input = value.as_deref().map(str::as_bytes);
        let steps = [Step::Name("query"), Step::Name(name)];
        self.report
            .add(&steps, problem, input.map_or(Input::Null, Input::Bytes));
    }

    /// The report, for what is wrong outside the query.
    pub(in crate::api) fn report(&mut self) -> &mut Report {
        &mut self.report
    }

    /// `value`, if nothing was wrong.
    ///
    /// # Errors
    /// What was.
    pub(in crate::api) fn finish<T>(self, value: T) -> Result<T, ValidationErrors> {
        self.report.finish(value)
    }
}
