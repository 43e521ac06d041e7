//! Wall-clock time for people, in UTC. No decision uses it.

use holdfast_model::time::UnixMs;

/// A moment, taken apart.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: u64,
    minute: u64,
    second: u64,
    ms: u64,
}

/// Days to a date: Howard Hinnant's `civil_from_days`.
fn civil(at: UnixMs) -> Civil {
    let seconds = at.0 / 1000;
    let days = i64::try_from(seconds / 86_400).unwrap_or(0) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * shifted + 2) / 5 + 1,
        hour: seconds / 3600 % 24,
        minute: seconds / 60 % 60,
        second: seconds % 60,
        ms: at.0 % 1000,
    }
}

/// `2026-11-22 16:34:20.123Z`.
pub fn moment(at: UnixMs) -> String {
    let c = civil(at);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}Z",
        c.year, c.month, c.day, c.hour, c.minute, c.second, c.ms
    )
}

/// `20261122-163420`: short, sortable, good as an id.
pub fn stamp(at: UnixMs) -> String {
    let c = civil(at);
    format!(
        "{:04}{:02}{:02}-{:02}{:02}{:02}",
        c.year, c.month, c.day, c.hour, c.minute, c.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        for (ms, says) in [
            (0, "1970-01-01 00:00:00.000Z"),
            (951_827_696_789, "2000-02-29 12:34:56.789Z"),
            (1_735_689_599_999, "2024-12-31 23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000Z"),
        ] {
            assert_eq!(moment(UnixMs(ms)), says);
        }
        assert_eq!(stamp(UnixMs(951_827_696_789)), "20000229-123456");
    }
}
