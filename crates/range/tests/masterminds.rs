//! Ranges answer as Masterminds/semver answers: `fixtures/ranges.tsv` was recorded from it by `fixtures/record.sh`.

use sluice_range::{Range, Version, latest};

#[test]
fn every_recorded_answer_is_given() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for row in include_str!("fixtures/ranges.tsv").lines() {
        let columns: Vec<&str> = row.split('\t').collect();
        let [range, version, expected] = columns.as_slice() else { panic!("malformed row {row:?}") };
        let got = match Range::parse(range) {
            Err(_) => "error",
            Ok(range) if version.is_empty() || range.matches(&Version::parse(version).unwrap()) => "yes",
            Ok(_) => "no",
        };
        rows += 1;
        if got != *expected {
            wrong.push(format!("{range:?} {version:?}: expected {expected}, got {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {rows} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn tags_need_three_parts_but_may_carry_a_prefix_and_leading_zeros() {
    for tag in ["1.2.3", "v1.2.3", "v2025.02.03-rc.1", "1.2.3-alpine3.18", "1.2.3+b.1"] {
        assert!(Version::parse_tag(tag).is_ok(), "{tag}");
    }
    for tag in
        ["1", "1.2", "v1", "1.2.3.4", "V1.2.3", "1.2.3-01", "latest", "", "1..3", "99999999999999999999.1.1"]
    {
        assert!(Version::parse_tag(tag).is_err(), "{tag}");
    }
}

#[test]
fn the_latest_tags_are_all_that_spell_the_highest_version() {
    let range = Range::parse("^1").unwrap();
    let tags = ["0.9.0", "v1.2.0", "1.2.0+a", "1.1.9", "nightly", "2.0.0", "1.3.0-rc.1"];
    assert_eq!(latest(tags, &range), ["v1.2.0", "1.2.0+a"]);
    assert!(latest(["2.0.0"], &range).is_empty());
}
