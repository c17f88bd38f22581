//! Lengths of time as policies and saved plans write them: `30s`, `5m`, `2h`.

use std::time::Duration;

/// The units, the longest first.
const UNITS: [(&str, u64); 3] = [("h", 3600), ("m", 60), ("s", 1)];

/// Reads a whole number and a unit, without sign, blank, fraction or leading zero.
pub fn parse(text: &str) -> Option<Duration> {
    let (digits, seconds) = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))?;
    let number: u64 = digits.parse().ok().filter(|number: &u64| number.to_string() == digits)?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// The text that [`parse`] reads as `duration`, with the longest unit that leaves no rest. Parts of a second are left out.
pub fn text(duration: Duration) -> String {
    let total = duration.as_secs();
    let fits = UNITS.iter().find(|(_, seconds)| total > 0 && total.is_multiple_of(*seconds));
    let (unit, seconds) = fits.copied().unwrap_or(("s", 1));
    format!("{}{unit}", total / seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (written, seconds) in [("0s", 0), ("0h", 0), ("30s", 30), ("90s", 90), ("5m", 300), ("2h", 7200)] {
            assert_eq!(parse(written), Some(Duration::from_secs(seconds)), "{written}");
        }
        for written in [
            "",
            "s",
            "5",
            "5 m",
            " 5m",
            "5m ",
            "05m",
            "+5m",
            "-5m",
            "1.5h",
            "5M",
            "5min",
            "1h30m",
            "1d",
            "٣s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse(written), None, "{written}");
        }
    }

    #[test]
    fn the_longest_unit_is_written_that_leaves_no_rest() {
        for (seconds, written) in [(0, "0s"), (1, "1s"), (60, "1m"), (90, "90s"), (3600, "1h"), (5400, "90m")] {
            assert_eq!(text(Duration::from_secs(seconds)), written);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(seconds: u64) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&text(duration)), Some(duration));
        }

        #[test]
        fn what_is_written_with_any_unit_is_read_as_so_long(number in 0u64..100_000, unit in 0usize..3) {
            let (unit, seconds) = UNITS[unit];
            prop_assert_eq!(parse(&format!("{number}{unit}")), Some(Duration::from_secs(number * seconds)));
        }

        #[test]
        fn no_text_makes_it_panic(written in "\\PC{0,12}|[0-9]{0,25}[smh]?") {
            if let Some(duration) = parse(&written) {
                prop_assert_eq!(parse(&text(duration)), Some(duration));
            }
        }
    }
}
