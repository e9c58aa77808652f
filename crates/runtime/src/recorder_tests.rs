use sluice_api::reason::{FAILED, SUCCEEDED};

use super::*;

fn told(message: &str, second: i64) -> Told {
    let at = Timestamp::from_second(second).unwrap();
    let about = InvolvedObject { name: "app".to_owned(), uid: "u".to_owned(), ..InvolvedObject::default() };
    Told { about, note: Note::info(SUCCEEDED, message), first: at, last: at, count: 1 }
}

fn write(correlator: &mut Correlator, told: &Told) -> Option<Entry> {
    let entry = correlator.correlate(told)?;
    let name = entry.name.clone().unwrap_or_else(|| format!("event-{}", entry.key));
    correlator.remember(entry.key, name, &entry);
    Some(entry)
}

#[test]
fn equal_events_are_counted_up() {
    let mut correlator = Correlator::new();
    let first = write(&mut correlator, &told("done", 1)).unwrap();
    assert_eq!((first.name.clone(), first.count), (None, 1));
    let second = write(&mut correlator, &told("done", 2)).unwrap();
    assert_eq!(second.count, 2);
    assert!(second.name.is_some());
    let piled = write(&mut correlator, &Told { count: 5, ..told("done", 3) }).unwrap();
    assert_eq!(piled.count, 7);
    let mut other = told("done", 4);
    other.note.reason = FAILED;
    assert_eq!(write(&mut correlator, &other).unwrap().name, None);
}

#[test]
fn many_similar_events_are_combined_until_it_is_quiet_again() {
    let mut correlator = Correlator::new();
    for number in 1..SIMILAR {
        let entry = write(&mut correlator, &told(&format!("try {number}"), 1)).unwrap();
        assert!(!entry.message.starts_with("(combined"), "{number}");
    }
    for number in 0..3 {
        let entry = write(&mut correlator, &told(&format!("more {number}"), 2)).unwrap();
        assert_eq!(entry.message, format!("(combined from similar events): more {number}"));
        assert_eq!(entry.count, number + 1);
    }
    let later = write(&mut correlator, &told("later", 3 + SIMILAR_WITHIN)).unwrap();
    assert_eq!(later.message, "later");
}

#[test]
fn one_object_may_not_flood_the_cluster() {
    let mut correlator = Correlator::new();
    let written = (0..100).filter(|_| write(&mut correlator, &told("again", 1)).is_some()).count();
    assert_eq!(written, 25);
    assert!(write(&mut correlator, &told("again", 200)).is_none());
    assert!(write(&mut correlator, &told("again", 302)).is_some());
    let mut other = told("again", 1);
    other.about.name = "other".to_owned();
    assert!(write(&mut correlator, &other).is_some());
}
