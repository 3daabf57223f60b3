//! Dates as people and the article's shell loop write them.

/// A unix time as `date` prints it in the C locale: `Mon Oct 20 15:57:24 UTC 2008`.
pub fn utc(unix_s: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAY_S: u64 = 24 * 60 * 60;
    let (days, second) = (unix_s / DAY_S, unix_s % DAY_S);
    let weekday = WEEKDAYS[usize::try_from(days % 7).unwrap_or_default()];
    let (year, month, day) = civil(days);
    let month = MONTHS[month];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Days since the Unix epoch as year, month from 0 on, and day from 1 on.
fn civil(days: u64) -> (u64, usize, u64) {
    /// Days in 400 years, after which the calendar repeats.
    const PERIOD_DAYS: u64 = 146_097;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // Whole periods first: what is left is at most 400 steps.
    let (mut year, mut day) = (1970 + days / PERIOD_DAYS * 400, days % PERIOD_DAYS);
    loop {
        let n_days = 365 + u64::from(is_leap(year));
        if day < n_days {
            break;
        }
        day -= n_days;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= months[month] {
        day -= months[month];
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date() {
        assert_eq!(utc(0), "Thu Jan  1 00:00:00 UTC 1970");
        assert_eq!(utc(951_782_400), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(utc(4_107_542_399), "Sun Feb 28 23:59:59 UTC 2100");
        assert_eq!(utc(4_107_542_400), "Mon Mar  1 00:00:00 UTC 2100");
        assert_eq!(utc(1_795_357_226), "Sun Nov 22 14:20:26 UTC 2026");
    }
}
