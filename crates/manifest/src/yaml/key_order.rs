//! The order of keys in output: go-yaml's "natural" comparison.

use std::cmp::Ordering;

/// Compares two keys as go-yaml does: digit runs by value, non-letters before letters.
/// This relation is not transitive (`"10" < "1a" < "2" < "10"`), so it must not be given to the
/// standard library's sorts; `sort_by` copes.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    compare(a, b, false)
}

/// As `natural_order` for go-yaml v3, where letters come first behind a digit.
pub(super) fn natural_order_v3(a: &str, b: &str) -> Ordering {
    compare(a, b, true)
}

fn compare(a: &str, b: &str, letters_follow_digits: bool) -> Ordering {
    let (x, y) = (a.as_bytes(), b.as_bytes());
    let mut at = x.iter().zip(y).take_while(|(p, q)| p == q).count();
    while !a.is_char_boundary(at) || !b.is_char_boundary(at) {
        at -= 1;
    }
    let (rest_a, rest_b) = (a.get(at..).unwrap_or_default(), b.get(at..).unwrap_or_default());
    let (Some(p), Some(q)) = (rest_a.chars().next(), rest_b.chars().next()) else {
        return rest_a.len().cmp(&rest_b.len());
    };
    let behind_digit = at.checked_sub(1).and_then(|at| x.get(at)).is_some_and(u8::is_ascii_digit);
    let letter_first = letters_follow_digits && behind_digit;
    match (p.is_alphabetic(), q.is_alphabetic()) {
        (true, true) => return p.cmp(&q),
        (true, false) if letter_first => return Ordering::Less,
        (false, true) if letter_first => return Ordering::Greater,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let mut seed = 0i64;
    if p == '0' || q == '0' {
        let before = x.iter().take(at).rev().take_while(|b| b.is_ascii_digit());
        if before.into_iter().any(|b| *b != b'0') {
            seed = 1;
        }
    }
    let run = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit);
        digits.fold((seed, 0usize), |(value, length), digit| {
            (value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')), length + 1)
        })
    };
    let (value_a, length_a) = run(rest_a);
    let (value_b, length_b) = run(rest_b);
    value_a.cmp(&value_b).then(length_a.cmp(&length_b)).then(p.cmp(&q))
}

/// A merge sort, which ends whatever the comparison says.
pub(super) fn sort_by<T>(order: fn(&str, &str) -> Ordering, items: Vec<(&str, T)>) -> Vec<(&str, T)> {
    let in_order = |pair: &[(&str, T)]| match pair {
        [a, b] => order(a.0, b.0) != Ordering::Greater,
        _ => true,
    };
    if items.windows(2).all(in_order) {
        return items;
    }
    let mut left = items;
    let right = left.split_off(left.len() / 2);
    let (left, right) = (sort_by(order, left), sort_by(order, right));
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if order(b.0, a.0) == Ordering::Less { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_count_and_letters_come_last() {
        let sorted = |keys: &[&'static str]| {
            sort_by(natural_order, keys.iter().map(|k| (*k, ())).collect())
                .into_iter()
                .map(|(k, ())| k)
                .collect::<Vec<_>>()
        };
        assert_eq!(sorted(&["aa", "aB", "a10", "a2", "a1"]), ["a1", "a2", "a10", "aB", "aa"]);
        assert_eq!(
            sorted(&["app.kubernetes.io/name", "app-x", "app"]),
            ["app", "app-x", "app.kubernetes.io/name"]
        );
        assert_eq!(
            sorted(&["é", "a", "Z", "A", "10", "2", "1", "0", "~", "_z", "/z", ".z", "-z"]),
            ["-z", ".z", "/z", "_z", "~", "0", "1", "2", "10", "A", "Z", "a", "é"]
        );
    }

    #[test]
    fn keys_that_chase_each_other_still_end_in_some_order() {
        let keys = vec![("10", ()), ("1a", ()), ("2", ())];
        assert_eq!(sort_by(natural_order, keys).len(), 3);
    }
}
