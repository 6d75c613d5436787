//! What counts as an integer: the rules of pydantic's lax integers (SPEC section 3).
//!
//! Numbers without a fraction, `true` and `false`, and strings that Python's `int` would read or
//! that end in `.0`.

use super::report::Problem;
use super::text::unescape;

/// Longest string that is read as a number, in bytes: the bound of Python and pydantic.
pub(in crate::api) const DIGITS_MAX: usize = 4300;
/// 2 to the power of 63: floats from here on are too large for an integer.
const FLOAT_LIMIT: f64 = 9_223_372_036_854_775_808.0;

/// Reads a valid JSON value. What does not fit is capped at plus or minus `u64::MAX`.
pub(in crate::api) fn of_json(value: &str) -> Result<i128, Problem> {
    match value.as_bytes()[0] {
        b'"' => of_text(&unescape(value).map_err(|_| Problem::IntParsing)?),
        b't' => Ok(1),
        b'f' => Ok(0),
        b'{' | b'[' | b'n' => Err(Problem::IntType),
        _ => of_number(value),
    }
}

fn of_number(number: &str) -> Result<i128, Problem> {
    if number.contains(['.', 'e', 'E']) {
        return of_float(number.parse().map_err(|_| Problem::IntParsing)?);
    }
    Ok(of_digits(number.as_bytes()))
}

fn of_float(number: f64) -> Result<i128, Problem> {
    if !number.is_finite() {
        Err(Problem::NotFinite)
    } else if number.fract() != 0.0 {
        Err(Problem::IntFromFloat)
    } else if number.abs() >= FLOAT_LIMIT {
        Err(Problem::IntParsingSize)
    } else {
        Ok(number as i128)
    }
}

/// Reads the text of a string. What does not fit is capped as in [`of_json`].
pub(in crate::api) fn of_text(text: &str) -> Result<i128, Problem> {
    if leading_number_len(text) > DIGITS_MAX {
        return Err(Problem::IntParsingSize);
    }
    let whole = without_zero_fraction(text.trim());
    let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    // Any run of underscores may stand among leading zeros, a single one between other digits.
    let significant = digits.trim_start_matches(['0', '_']);
    let length = significant.bytes().filter(u8::is_ascii_digit).count();
    if is_digits(digits) && !significant.contains("__") && length <= DIGITS_MAX {
        Ok(of_digits(whole.as_bytes()))
    } else {
        Err(Problem::IntParsing)
    }
}

/// The number, if it is within these bounds.
pub(in crate::api) fn within(number: i128, min: u32, max: u32) -> Result<u32, Problem> {
    if number < i128::from(min) {
        return Err(Problem::AtLeast(min));
    }
    u32::try_from(number)
        .ok()
        .filter(|number| *number <= max)
        .ok_or(Problem::AtMost(max))
}

/// The truth that a string tells, in one of pydantic's ways.
pub(in crate::api) fn flag_of_text(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_one_of(&["1", "t", "true", "y", "yes", "on"]) {
        Some(true)
    } else if is_one_of(&["0", "f", "false", "n", "no", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// Bytes of the sign and the digits with which `text` begins, unless that is a zero.
fn leading_number_len(text: &str) -> usize {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.starts_with('0') {
        return 0;
    }
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    text.len() - rest.len()
}

/// Digits and underscores, with a digit at both ends.
fn is_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// `text` without a `.` and the zeros behind it.
fn without_zero_fraction(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        _ => text,
    }
}

/// The value of decimal digits, with a sign in front and underscores between; capped.
fn of_digits(digits: &[u8]) -> i128 {
    let value = digits
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0, |value: u64, digit| {
            value
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        });
    if digits.first() == Some(&b'-') {
        -i128::from(value)
    } else {
        i128::from(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_caps() {
        let cap = i128::from(u64::MAX);
        for (value, number) in [
            ("-3", -3),
            ("-3.0", -3),
            ("-0", 0),
            ("false", 0),
            ("\"-1_0\"", -10),
            ("\" +7 \"", 7),
            ("99999999999999999999999", cap),
            ("-99999999999999999999999", -cap),
        ] {
            assert_eq!(of_json(value), Ok(number), "{value}");
        }
        assert_eq!(of_json("null"), Err(Problem::IntType));
    }
}
