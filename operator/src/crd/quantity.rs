//! Quantities of Kubernetes (`1Gi`, `1024Mi`, `0.5`, `500m`): the API server writes them its own way. Pure.

use std::cmp::Ordering;

/// Whether both are quantities, and of the same size.
pub fn are_equal(one: &str, other: &str) -> bool {
    match (nanos(one), nanos(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => false,
    }
}

/// Which of both is larger; `None` where one is no quantity.
pub fn order(one: &str, other: &str) -> Option<Ordering> {
    Some(nanos(one)?.cmp(&nanos(other)?))
}

/// The size of a quantity of bytes, such as `50Mi`, in whole ones; `None` where it is none.
pub fn bytes(text: &str) -> Option<u64> {
    u64::try_from(nanos(text)? / 1_000_000_000).ok()
}

/// The size in thousand-millionths, as far as it can be told exactly.
fn nanos(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+'));
    let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_negative = whole.starts_with('-');
    let digits: String = whole.trim_start_matches(['-', '+']).chars().chain(part.chars()).collect();
    let digits: i128 = digits.parse().ok()?;
    let (base, exponent): (i128, i32) = match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        other => (1, other.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let shift = 9_i32.checked_add(exponent)?.checked_sub(i32::try_from(part.len()).ok()?)?;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    let scaled = digits.checked_mul(base)?;
    let size = if shift >= 0 {
        scaled.checked_mul(power)?
    } else if scaled % power == 0 {
        scaled / power
    } else {
        return None;
    };
    Some(if is_negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_so_many_bytes() {
        let cases = [("50Mi", Some(50 << 20)), ("1.5k", Some(1_500)), ("0", Some(0)), ("-1", None)];
        for (text, size) in cases {
            assert_eq!(bytes(text), size, "{text}");
        }
    }

    #[test]
    fn the_same_size_may_be_written_in_many_ways() {
        let equal = [
            ("1Gi", "1024Mi"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1e3", "1k"),
            ("1.5Gi", "1536Mi"),
            ("+2", "2000m"),
            ("-1", "-1000m"),
        ];
        for (one, other) in equal {
            assert!(are_equal(one, other), "{one} {other}");
        }
        let unequal = [("1G", "1Gi"), ("1", "2"), ("x", "x"), ("", ""), ("1Q", "1Q"), ("-1", "1")];
        for (one, other) in unequal {
            assert!(!are_equal(one, other), "{one} {other}");
        }
    }
}
