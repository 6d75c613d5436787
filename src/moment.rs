//! One reading of both clocks, taken by whoever owns a clock and handed to all that need the time.

use std::time::Duration;

/// What the clocks said at one time. Ages and deadlines use the monotonic clock, ids and timestamps
/// the wall clock, which may step back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moment {
    /// Microseconds since the Unix epoch.
    pub wall_micros: u64,
    /// Microseconds since some start; never steps back.
    pub monotonic_micros: u64,
}

impl Moment {
    /// Milliseconds since the Unix epoch.
    pub fn wall_millis(self) -> u64 {
        self.wall_micros / 1000
    }

    /// The monotonic time `span` after this moment, in microseconds; saturates.
    pub fn after(self, span: Duration) -> u64 {
        self.monotonic_micros.saturating_add(micros(span))
    }

    /// UTC, RFC 3339 with microseconds and `Z` (SPEC section 1): always 27 bytes until the year
    /// 9999, where it stops.
    pub fn timestamp(self) -> Timestamp {
        const END_OF_9999: u64 = 253_402_300_799_999_999;
        let since_epoch = Duration::from_micros(self.wall_micros.min(END_OF_9999));
        let mut text = [0; Timestamp::LEN];
        let mut rest = &mut text[..];
        let formatted = humantime::format_rfc3339_micros(std::time::UNIX_EPOCH + since_epoch);
        std::io::Write::write_fmt(&mut rest, format_args!("{formatted}"))
            .expect("27 bytes hold every time of the years 1970 to 9999");
        Timestamp(text)
    }
}

/// Microseconds of a span; saturates.
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Text of a time, as in `2026-01-31T12:00:00.123456Z`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp([u8; Timestamp::LEN]);

impl Timestamp {
    /// Length in bytes, always the same.
    pub const LEN: usize = 27;

    /// Of a time in seconds of Unix time.
    pub fn of_unix(seconds: u64) -> Timestamp {
        let moment = Moment {
            wall_micros: seconds.saturating_mul(1_000_000),
            ..Moment::default()
        };
        moment.timestamp()
    }

    /// The timestamp that a text is, if it has the form of one.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let form = b"dddd-dd-ddTdd:dd:dd.ddddddZ";
        let bytes: [u8; Timestamp::LEN] = text.as_bytes().try_into().ok()?;
        let fits = |(byte, form): (&u8, &u8)| match form {
            b'd' => byte.is_ascii_digit(),
            sign => byte == sign,
        };
        let is_one = bytes.iter().zip(form).all(fits);
        is_one.then_some(Timestamp(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("written from ASCII digits and signs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_read_as_it_is_written() {
        let timestamp = Moment::default().timestamp();
        let read = Timestamp::parse(timestamp.as_str()).unwrap();
        assert_eq!(read.as_str(), timestamp.as_str());
        for bad in [
            "",
            "1970-01-01T00:00:00.000000z",
            "1970-01-01T00:00:00.00000Z",
        ] {
            assert!(Timestamp::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn timestamps_have_one_width() {
        for (wall_micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_769_860_800_123_456, "2026-01-31T12:00:00.123456Z"),
            (u64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            let moment = Moment {
                wall_micros,
                ..Moment::default()
            };
            assert_eq!(moment.timestamp().as_str(), text);
        }
    }
}
