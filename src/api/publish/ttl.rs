//! The `ttl` of a message: what counts as an integer of seconds (SPEC section 3).
//!
//! The rules are those of pydantic's lax integers: numbers without a fraction, `true`, and strings
//! that Python's `int` would read or that end in `.0`.

use super::report::Problem;
use super::text::unescape;

/// Longest string that is read as a number, in bytes: the bound of Python and pydantic.
const DIGITS_MAX: usize = 4300;
/// 2 to the power of 63: floats from here on are too large for an integer.
const FLOAT_LIMIT: f64 = 9_223_372_036_854_775_808.0;

/// Reads a `ttl`, a valid JSON value other than `null`, into seconds of at least 1. What does not
/// fit is capped.
pub(super) fn parse(value: &str) -> Result<u64, Problem> {
    let seconds = match value.as_bytes()[0] {
        b'"' => of_string(value)?,
        b't' => 1,
        b'f' => 0,
        b'{' | b'[' => return Err(Problem::IntType),
        _ => of_number(value)?,
    };
    if seconds == 0 {
        return Err(Problem::NotPositive);
    }
    Ok(seconds)
}

/// The value of a JSON number; 0 for all that are not above 0.
fn of_number(number: &str) -> Result<u64, Problem> {
    if number.contains(['.', 'e', 'E']) {
        return of_float(number.parse().map_err(|_| Problem::IntParsing)?);
    }
    Ok(of_digits(number.as_bytes()))
}

fn of_float(number: f64) -> Result<u64, Problem> {
    if !number.is_finite() {
        Err(Problem::NotFinite)
    } else if number.fract() != 0.0 {
        Err(Problem::IntFromFloat)
    } else if number.abs() >= FLOAT_LIMIT {
        Err(Problem::IntParsingSize)
    } else {
        // A negative number becomes 0 here.
        Ok(number as u64)
    }
}

fn of_string(quoted: &str) -> Result<u64, Problem> {
    let text = unescape(quoted).map_err(|_| Problem::IntParsing)?;
    if leading_number_len(&text) > DIGITS_MAX {
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

/// The value of decimal digits, with a sign in front and underscores between; capped, and 0 when
/// negative.
fn of_digits(digits: &[u8]) -> u64 {
    if digits.first() == Some(&b'-') {
        return 0;
    }
    digits
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0, |value: u64, digit| {
            value
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_an_integer() {
        for (value, seconds) in [
            ("60", 60),
            ("60.0", 60),
            ("6e1", 60),
            ("true", 1),
            ("\"60\"", 60),
            ("\" 60 \"", 60),
            ("\"+5\"", 5),
            ("\"1_000\"", 1000),
            ("\"1.0\"", 1),
            ("\"1_0.00\"", 10),
            ("\"0__1\"", 1),
            ("\"\\u0031\"", 1),
            ("99999999999999999999999999", u64::MAX),
            ("\"99999999999999999999999999\"", u64::MAX),
        ] {
            assert_eq!(parse(value), Ok(seconds), "{value}");
        }
    }

    #[test]
    fn refused() {
        for (value, problem) in [
            ("0", Problem::NotPositive),
            ("-0", Problem::NotPositive),
            ("-3", Problem::NotPositive),
            ("-3.0", Problem::NotPositive),
            ("false", Problem::NotPositive),
            ("\"-1_0\"", Problem::NotPositive),
            ("1.5", Problem::IntFromFloat),
            ("1e300", Problem::IntParsingSize),
            ("1e999", Problem::NotFinite),
            ("[]", Problem::IntType),
            ("{}", Problem::IntType),
            ("\"\"", Problem::IntParsing),
            ("\"1.5\"", Problem::IntParsing),
            ("\"1.\"", Problem::IntParsing),
            ("\"_1\"", Problem::IntParsing),
            ("\"1__0\"", Problem::IntParsing),
            ("\"+-1\"", Problem::IntParsing),
            ("\"\\ud800\"", Problem::IntParsing),
        ] {
            assert_eq!(parse(value), Err(problem), "{value}");
        }
        let long = format!("\"{}\"", "1".repeat(DIGITS_MAX + 1));
        assert_eq!(parse(&long), Err(Problem::IntParsingSize));
    }
}
