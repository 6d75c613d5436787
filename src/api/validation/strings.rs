//! Objects whose values are strings.

use std::borrow::Cow;
use std::collections::HashMap;

use super::report::{Input, Problem, Report, Step};
use super::scan::{Scanner, Span, SyntaxError};
use super::text::unescape;

/// Reports the values of a valid object, at `steps`, that are not strings; true when there are none.
///
/// Of the values of one key the last counts; keys are reported in the order in which they came
/// first, as Python's dictionaries keep them.
pub(in crate::api) fn check(
    text: &str,
    object: Span,
    steps: &[Step<'_>],
    report: &mut Report,
) -> bool {
    let mut entries: Vec<(Span, Span)> = Vec::new();
    let mut index: HashMap<Cow<'_, str>, usize> = HashMap::new();
    for_each_member(text, object, |key, value| {
        let name = unescape(key.of(text)).unwrap_or(Cow::Borrowed(key.of(text)));
        let entry = *index.entry(name).or_insert(entries.len());
        match entries.get_mut(entry) {
            Some((_, last)) => *last = value,
            None => entries.push((key, value)),
        }
    });
    let mut all_strings = true;
    for (key, value) in entries {
        if value.first(text) != b'"' {
            all_strings = false;
            let mut steps = steps.to_vec();
            steps.push(Step::Key(key.of(text)));
            report.add(&steps, Problem::StringType, Input::Json(value.of(text)));
        }
    }
    all_strings
}

/// Calls `each` with the spans of key and value of each member of a valid object.
pub(in crate::api) fn for_each_member(text: &str, object: Span, mut each: impl FnMut(Span, Span)) {
    let scanned: Result<(), SyntaxError> =
        Scanner::new(text, object.start).members(|scanner, key| {
            each(key, scanner.value(1)?);
            Ok(())
        });
    debug_assert_eq!(scanned, Ok(()), "the object was scanned before");
}
