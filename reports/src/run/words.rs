//! Figures as people read them.

use crate::expect::NOT_JUDGED;

/// What stands where a figure could not be computed.
pub const NOT_MEASURED: &str = "not measured";

/// A whole number with its thousands set off: `600,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count, or that it was not judged.
pub fn judged(count: Option<u64>) -> String {
    count.map_or_else(|| NOT_JUDGED.to_owned(), grouped)
}

/// A figure with three digits: all of its whole part, and as many decimals as are left of three. A
/// whole number has none. One of more than 18 digits is written as a power of ten.
pub fn figure(value: f64) -> String {
    if value.abs() >= 1e18 {
        return format!("{value:.2e}");
    }
    let decimals = match value.abs() {
        whole if whole.fract() == 0.0 => 0,
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = grouped(whole.parse().unwrap_or(u64::MAX));
    let point = if fraction.is_empty() { "" } else { "." };
    let is_negative = value < 0.0 && text.bytes().any(|digit| (b'1'..=b'9').contains(&digit));
    format!("{}{whole}{point}{fraction}", if is_negative { "−" } else { "" })
}

/// A figure with its unit, if there is one.
pub fn with_unit(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), |value| format!("{} {unit}", figure(value)))
}

/// KB of 1,024 bytes, as `ps` prints them.
pub fn kb(kb: Option<u64>) -> String {
    kb.map_or_else(|| NOT_MEASURED.to_owned(), |kb| format!("{} KB", grouped(kb)))
}

/// A share of a core in percent.
pub fn of_one_core(share: Option<f64>) -> String {
    let percent = share.map(|share| share * 100.0);
    percent.map_or_else(|| NOT_MEASURED.to_owned(), |it| format!("{it:.1} % of one core"))
}

/// A part of a whole in percent.
pub fn share(part: u64, whole: u64) -> String {
    let percent = part as f64 * 100.0 / whole.max(1) as f64;
    if percent > 0.0 && percent < 0.01 {
        "under 0.01 %".to_owned()
    } else {
        format!("{percent:.2} %")
    }
}

/// Microseconds in milliseconds.
pub fn ms(us: u64) -> String {
    format!("{:.3}", us as f64 / 1_000.0)
}

/// A time in the unit that people would use.
pub fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 7_200.0 => (s / 3_600.0, "h"),
        s if s >= 120.0 => (s / 60.0, "min"),
        s => (s, "s"),
    };
    let text = format!("{value:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// A size in bytes, KB or MB.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1_000.0),
        _ => format!("{:.1} MB", bytes as f64 / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_or_all_of_their_whole_part() {
        let texts = [0.0, 0.0484, 5.203, 54.06, 99.96, 8_725.4, 1e7, -0.0001, -1.5].map(figure);
        let expected =
            ["0", "0.048", "5.20", "54.1", "100", "8,725", "10,000,000", "0.000", "−1.50"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_was_not_measured_is_never_zero() {
        assert_eq!(kb(None), "not measured");
        assert_eq!(with_unit(None, "KB"), "not measured");
        assert_eq!(of_one_core(Some(0.0615)), "6.2 % of one core");
        assert_eq!((share(0, 7), share(1, 1_000_000)), ("0.00 %".into(), "under 0.01 %".into()));
    }

    #[test]
    fn times_and_sizes_have_the_unit_that_people_use() {
        assert_eq!([time(2.5), time(120.0), time(86_400.0)], ["2.5 s", "2 min", "24 h"]);
        assert_eq!([size(999), size(1_500), size(2_000_000)], ["999 bytes", "1.5 KB", "2.0 MB"]);
    }
}
