//! Dates and times in the form of ISO 8601.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::record::Field;
use parquet::schema::types::Type;

const SECONDS_A_DAY: i128 = 86_400;

/// What an integer of a column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data::table) enum Moment {
    /// Since the beginning of 1970, so many a second; at Greenwich, or at a place that is not named.
    Timestamp { a_second: i128, utc: bool },
    /// Since midnight, so many a second.
    Time { a_second: i128 },
    /// Days since the beginning of 1970.
    Date,
}

impl Moment {
    /// What a column says of itself; `None` where it holds no moments.
    pub(in crate::data::table) fn of(column: &Type) -> Option<Self> {
        if !column.is_primitive() {
            return None;
        }
        let info = column.get_basic_info();
        match (info.logical_type_ref(), info.converted_type()) {
            (Some(LogicalType::Timestamp(said)), _) => Some(Self::Timestamp {
                a_second: a_second(&said.unit),
                utc: said.is_adjusted_to_u_t_c,
            }),
            (Some(LogicalType::Time(said)), _) => {
                Some(Self::Time { a_second: a_second(&said.unit) })
            }
            (_, ConvertedType::TIMESTAMP_MILLIS) => {
                Some(Self::Timestamp { a_second: 1_000, utc: true })
            }
            (_, ConvertedType::TIMESTAMP_MICROS) => {
                Some(Self::Timestamp { a_second: 1_000_000, utc: true })
            }
            // The place is not named, and the crate gives milliseconds.
            _ if column.get_physical_type() == PhysicalType::INT96 => {
                Some(Self::Timestamp { a_second: 1_000, utc: false })
            }
            _ => None,
        }
    }

    /// What a field is by itself, such as one in a list.
    fn of_field(field: &Field) -> Option<Self> {
        match field {
            Field::Date(_) => Some(Self::Date),
            Field::TimeMillis(_) => Some(Self::Time { a_second: 1_000 }),
            Field::TimeMicros(_) => Some(Self::Time { a_second: 1_000_000 }),
            Field::TimestampMillis(_) => Some(Self::Timestamp { a_second: 1_000, utc: true }),
            Field::TimestampMicros(_) => Some(Self::Timestamp { a_second: 1_000_000, utc: true }),
            _ => None,
        }
    }

    fn text(self, count: i64) -> String {
        let count = i128::from(count);
        match self {
            Self::Date => date(count),
            Self::Time { a_second } => time(count, a_second),
            Self::Timestamp { a_second, utc } => {
                let day = a_second * SECONDS_A_DAY;
                let (date, time) =
                    (date(count.div_euclid(day)), time(count.rem_euclid(day), a_second));
                format!("{date}T{time}{}", if utc { "Z" } else { "" })
            }
        }
    }
}

/// The text of a field that is a moment; `column` is what its column says.
pub(in crate::data::table) fn moment(field: &Field, column: Option<Moment>) -> Option<String> {
    let count = match field {
        Field::Date(count) | Field::TimeMillis(count) => i64::from(*count),
        Field::TimeMicros(count)
        | Field::TimestampMillis(count)
        | Field::TimestampMicros(count)
        | Field::Long(count) => *count,
        _ => return None,
    };
    Some(column.or_else(|| Moment::of_field(field))?.text(count))
}

fn a_second(unit: &TimeUnit) -> i128 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

/// `2024-02-29`, of days since the beginning of 1970.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn date(days: i128) -> String {
    // Years begin in March, so that the leap day is the last one; an era has 400 years.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400 + i128::from(month >= 10), (month + 2) % 12 + 1);
    format!("{year:04}-{month:02}-{of_month:02}")
}

/// `12:30:00`, and the fraction of a second where there is one.
fn time(count: i128, a_second: i128) -> String {
    let (seconds, rest) = (count.div_euclid(a_second), count.rem_euclid(a_second));
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if rest == 0 {
        return clock;
    }
    let digits = a_second.ilog10() as usize;
    let fraction = format!("{rest:0digits$}");
    format!("{clock}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against Python: `datetime(1970, 1, 1) + timedelta(days=…)`.
    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (-719_162, "0001-01-01"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn no_digit_of_a_moment_is_lost_and_none_is_invented() {
        let nanos = Moment::Timestamp { a_second: 1_000_000_000, utc: false };
        let millis = Moment::Timestamp { a_second: 1_000, utc: true };
        assert_eq!(nanos.text(1_704_067_200_123_456_789), "2024-01-01T00:00:00.123456789");
        assert_eq!(millis.text(1_704_067_200_000), "2024-01-01T00:00:00Z");
        assert_eq!(millis.text(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(Moment::Time { a_second: 1_000_000 }.text(45_000_500_000), "12:30:00.5");
        // Beyond any calendar, and no panic.
        assert!(millis.text(i64::MAX).starts_with("292278994-08-17T"));
        assert!(nanos.text(i64::MIN).starts_with("1677-09-21T"));
    }
}
