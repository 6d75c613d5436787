//! The `ttl` of a message: what counts as an integer of seconds (SPEC section 3).

use crate::api::validation::integer;
use crate::api::validation::report::Problem;

/// Reads a `ttl`, a valid JSON value other than `null`, into seconds of at least 1. What does not
/// fit is capped.
pub(super) fn parse(value: &str) -> Result<u64, Problem> {
    let seconds = integer::of_json(value)?.min(i128::from(u64::MAX));
    match u64::try_from(seconds) {
        Ok(0) | Err(_) => Err(Problem::NotPositive),
        Ok(seconds) => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::validation::integer::DIGITS_MAX;

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
