//! Small request bodies: an object whose members are read one by one by their rules.
//!
//! A member that breaks a rule goes into the report and reads as nothing; [`Body::finish`] tells.

use std::borrow::Cow;

use super::report::{Input, Problem, Report, Step};
use super::scan::{Scanner, Span, SyntaxError};
use super::text::unescape;
use super::{BODY, ValidationErrors, integer, json_text, not_an_object, read_string, strings};

/// A body with the values of `N` members.
pub(in crate::api) struct Body<'b, const N: usize> {
    text: &'b str,
    whole: Span,
    names: [&'static str; N],
    /// The last value of each name.
    values: [Option<Span>; N],
    report: Report,
}

impl<'b, const N: usize> Body<'b, N> {
    /// Finds the members of these names.
    ///
    /// # Errors
    /// When the body is no JSON object.
    pub(in crate::api) fn read(
        body: &'b [u8],
        content_type: Option<&[u8]>,
        names: [&'static str; N],
    ) -> Result<Body<'b, N>, ValidationErrors> {
        let text = json_text(body, content_type)?;
        let mut values = [None; N];
        let whole = Scanner::new(text, 0)
            .document(|scanner| {
                if scanner.peek() == Some(b'{') {
                    let ((), whole) =
                        scanner.spanned(|scanner| members(scanner, &names, &mut values))?;
                    Ok(whole)
                } else {
                    scanner.value(0)
                }
            })
            .map_err(|error| ValidationErrors::syntax(text, error))?;
        if whole.first(text) != b'{' {
            return Err(not_an_object(text, whole));
        }
        Ok(Body {
            text,
            whole,
            names,
            values,
            report: Report::default(),
        })
    }

    /// The list of 1 to `max` elements of a required member.
    pub(in crate::api) fn list(&mut self, name: &'static str, max: usize) -> Vec<Span> {
        let Some(span) = self.value(name) else {
            self.add(name, Problem::Missing, self.whole);
            return Vec::new();
        };
        if span.first(self.text) != b'[' {
            self.add(name, Problem::ListType, span);
            return Vec::new();
        }
        let (mut first, mut length) = (Vec::new(), 0);
        let scanned: Result<(), SyntaxError> =
            Scanner::new(self.text, span.start).elements(|scanner| {
                let element = scanner.value(2)?;
                if length < max {
                    first.push(element);
                }
                length += 1;
                Ok(())
            });
        debug_assert_eq!(scanned, Ok(()), "the list was scanned before");
        if length == 0 {
            self.add(name, Problem::ListEmpty, span);
        } else if length > max {
            self.add(name, Problem::ListTooLong { max, length }, span);
            first.clear();
        }
        first
    }

    /// The string that is element `index` of the list `name`.
    ///
    /// # Errors
    /// When it has a lone surrogate.
    pub(in crate::api) fn element(
        &mut self,
        name: &'static str,
        index: usize,
        span: Span,
    ) -> Result<Option<Cow<'b, str>>, ValidationErrors> {
        if span.first(self.text) != b'"' {
            self.element_is(name, index, span, Problem::StringType);
            return Ok(None);
        }
        self.string(span).map(Some)
    }

    /// Puts what is wrong with an element into the report.
    pub(in crate::api) fn element_is(
        &mut self,
        name: &'static str,
        index: usize,
        span: Span,
        problem: Problem,
    ) {
        let steps = [Step::Name("body"), Step::Name(name), Step::Index(index)];
        let input = Input::Json(span.of(self.text));
        self.report.add(&steps, problem, input);
    }

    /// The members of an object with string values, if the member is there and not null.
    ///
    /// # Errors
    /// When a string has a lone surrogate.
    pub(in crate::api) fn strings(
        &mut self,
        name: &'static str,
        mut each: impl FnMut(&str, &str),
    ) -> Result<bool, ValidationErrors> {
        let Some(span) = self.given(name) else {
            return Ok(false);
        };
        if span.first(self.text) != b'{' {
            self.add(name, Problem::DictType, span);
            return Ok(true);
        }
        let steps = [Step::Name("body"), Step::Name(name)];
        if strings::check(self.text, span, &steps, &mut self.report) {
            let mut result = Ok(());
            strings::for_each_member(self.text, span, |key, value| {
                // Of a key that came twice, an earlier value may be no string.
                if result.is_ok() && value.first(self.text) == b'"' {
                    result = self
                        .string(key)
                        .and_then(|key| self.string(value).map(|value| each(&key, &value)));
                }
            });
            result?;
        }
        Ok(true)
    }

    /// An integer of `min` to `max`, or `default` when the member is not there.
    pub(in crate::api) fn integer(
        &mut self,
        name: &'static str,
        (min, max): (u32, u32),
        default: u32,
    ) -> u32 {
        let Some(span) = self.value(name) else {
            return default;
        };
        match integer::of_json(span.of(self.text)).and_then(|it| integer::within(it, min, max)) {
            Ok(number) => number,
            Err(problem) => {
                self.add(name, problem, span);
                default
            }
        }
    }

    /// True or false in any of pydantic's ways; false when the member is not there.
    pub(in crate::api) fn flag(&mut self, name: &'static str) -> bool {
        let Some(span) = self.value(name) else {
            return false;
        };
        let value = span.of(self.text);
        let result = match value.as_bytes()[0] {
            b't' => Ok(true),
            b'f' => Ok(false),
            b'"' => unescape(value)
                .ok()
                .and_then(|text| integer::flag_of_text(&text))
                .ok_or(Problem::BoolParsing),
            b'-' | b'0'..=b'9' => match integer::of_json(value) {
                Ok(0) => Ok(false),
                Ok(1) => Ok(true),
                Ok(_) => Err(Problem::BoolParsing),
                Err(_) => Err(Problem::BoolType),
            },
            _ => Err(Problem::BoolType),
        };
        result.unwrap_or_else(|problem| {
            self.add(name, problem, span);
            false
        })
    }

    /// A string of 1 to 255 characters, if the member is there and not null.
    ///
    /// # Errors
    /// When it has a lone surrogate.
    pub(in crate::api) fn name(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Cow<'b, str>>, ValidationErrors> {
        self.text(name, name_problem)
    }

    /// A string in which `problem` finds none, if the member is there and not null.
    ///
    /// # Errors
    /// When it has a lone surrogate.
    pub(in crate::api) fn text(
        &mut self,
        name: &'static str,
        problem: impl FnOnce(&str) -> Option<Problem>,
    ) -> Result<Option<Cow<'b, str>>, ValidationErrors> {
        let Some(span) = self.given(name) else {
            return Ok(None);
        };
        if span.first(self.text) != b'"' {
            self.add(name, Problem::StringType, span);
            return Ok(None);
        }
        let text = self.string(span)?;
        match problem(&text) {
            None => Ok(Some(text)),
            Some(problem) => {
                self.add(name, problem, span);
                Ok(None)
            }
        }
    }

    /// A member that must be there is: null only where `or_null`.
    pub(in crate::api) fn require(&mut self, name: &'static str, or_null: bool) {
        match self.value(name) {
            None => self.add(name, Problem::Missing, self.whole),
            Some(span) if !or_null && span.first(self.text) == b'n' => {
                self.add(name, Problem::StringType, span);
            }
            Some(_) => {}
        }
    }

    /// Whether a member is there and not null.
    pub(in crate::api) fn is_given(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// Puts what is wrong with the body as a whole into the report, which does not repeat it.
    pub(in crate::api) fn whole_is(&mut self, problem: Problem) {
        self.report.add(&BODY, problem, Input::Null);
    }

    /// `value`, if nothing was wrong.
    ///
    /// # Errors
    /// What was.
    pub(in crate::api) fn finish<T>(self, value: T) -> Result<T, ValidationErrors> {
        self.report.finish(value)
    }

    fn value(&self, name: &str) -> Option<Span> {
        let index = self.names.iter().position(|known| *known == name)?;
        self.values[index]
    }

    fn given(&self, name: &str) -> Option<Span> {
        self.value(name)
            .filter(|span| span.first(self.text) != b'n')
    }

    fn string(&self, span: Span) -> Result<Cow<'b, str>, ValidationErrors> {
        read_string(self.text, span).map_err(|error| ValidationErrors::syntax(self.text, error))
    }

    fn add(&mut self, name: &'static str, problem: Problem, span: Span) {
        let steps = [BODY[0], Step::Name(name)];
        let input = Input::Json(span.of(self.text));
        self.report.add(&steps, problem, input);
    }
}

/// What is wrong with the name of a client or a group.
pub(in crate::api) fn name_problem(text: &str) -> Option<Problem> {
    if text.is_empty() {
        Some(Problem::StringTooShort)
    } else if crate::api::consumer::is_name(text) {
        None
    } else {
        Some(Problem::StringTooLong(super::NAME_CHARS_MAX))
    }
}

fn members(
    scanner: &mut Scanner<'_>,
    names: &[&'static str],
    values: &mut [Option<Span>],
) -> Result<(), SyntaxError> {
    scanner.members(|scanner, key| {
        let value = scanner.value(1)?;
        let key = unescape(key.of(scanner.text())).ok();
        let index = key.and_then(|key| names.iter().position(|name| *name == key));
        if let Some(index) = index {
            values[index] = Some(value);
        }
        Ok(())
    })
}
