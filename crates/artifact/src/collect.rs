use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::address::is_attendant;

/// How long and how many superseded archives are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Older ones go.
    pub ttl: Duration,
    /// No more than this many stay, the current one counted.
    pub records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(60), records: 2 }
    }
}

/// Files that are looked at in one collection.
pub(crate) const FILES: usize = 1000;
/// Time that one collection may take.
pub(crate) const BUDGET: Duration = Duration::from_secs(5);

/// A regular file of an object's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    pub(crate) modified: SystemTime,
    pub(crate) name: String,
}

/// What is to be removed: archives (counted) and what goes with them (not counted).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Garbage {
    pub(crate) archives: Vec<String>,
    pub(crate) attendants: Vec<String>,
}

/// Decides what goes. The current archive never does; ties in age are broken by name.
pub(crate) fn plan(mut files: Vec<Stored>, current: &str, retention: Retention, now: SystemTime) -> Garbage {
    files.sort();
    let expired = |file: &Stored| {
        now.duration_since(file.modified).is_ok_and(|age| age > retention.ttl) && file.name != current
    };
    let (attendants, archives): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| is_attendant(&file.name));
    let (mut gone, mut kept): (Vec<_>, Vec<_>) = archives.into_iter().partition(expired);
    let mut surplus = kept.len().saturating_sub(retention.records.max(1));
    kept.retain(|file| {
        let goes = surplus > 0 && file.name != current;
        if goes {
            surplus -= 1;
            gone.push(file.clone());
        }
        !goes
    });
    let (kept, gone): (BTreeSet<_>, BTreeSet<_>) =
        (kept.into_iter().map(|f| f.name).collect(), gone.into_iter().map(|f| f.name).collect());
    let goes = |file: &Stored| {
        let Some((archive, _)) = file.name.rsplit_once('.') else { return false };
        gone.contains(archive) || (expired(file) && !kept.contains(archive) && archive != current)
    };
    let attendants = attendants.into_iter().filter(goes).map(|file| file.name).collect();
    Garbage { archives: gone.into_iter().collect(), attendants }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by name and age in seconds.
    fn collected(files: &[(&str, u64)], current: &str) -> Garbage {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let stored = |(name, age): &(&str, u64)| Stored {
            name: (*name).to_owned(),
            modified: now - Duration::from_secs(*age),
        };
        plan(files.iter().map(stored).collect(), current, Retention::default(), now)
    }

    #[test]
    fn nothing_older_than_the_ttl_stays_but_the_current_file() {
        let garbage = collected(&[("a", 500), ("b", 400), ("c", 300), ("d", 200), ("now", 900)], "now");
        assert_eq!(garbage.archives, ["a", "b", "c", "d"]);
    }

    #[test]
    fn within_the_ttl_the_newest_others_stay_up_to_the_limit() {
        let garbage = collected(&[("a", 50), ("b", 40), ("c", 30), ("d", 20), ("now", 10)], "now");
        assert_eq!(garbage.archives, ["a", "b", "c"]);
        let garbage = collected(&[("a", 50), ("now", 10)], "now");
        assert_eq!(garbage, Garbage::default());
    }

    #[test]
    fn files_of_equal_age_are_all_accounted_for() {
        let garbage = collected(&[("a", 30), ("b", 30), ("c", 30), ("now", 30)], "now");
        assert_eq!(garbage.archives, ["a", "b"]);
    }

    #[test]
    fn attendants_go_with_their_archive_and_do_not_count() {
        let files = [
            ("a", 500),
            ("a.lock", 500),
            ("a.index", 500),
            ("a.members", 500),
            ("b", 20),
            ("b.index", 20),
            ("b.lock", 500),
            ("now", 10),
            ("now.index", 10),
            ("now.lock", 900),
        ];
        let garbage = collected(&files, "now");
        assert_eq!(garbage.archives, ["a"]);
        assert_eq!(garbage.attendants, ["a.index", "a.lock", "a.members"]);
    }

    #[test]
    fn orphans_and_leftovers_go_once_they_are_old() {
        let files = [("lost.index", 500), ("young.index", 5), ("x.123.tmp", 500), ("now", 10)];
        let garbage = collected(&files, "now");
        assert_eq!(garbage.archives, ["x.123.tmp"]);
        assert_eq!(garbage.attendants, ["lost.index"]);
    }

    #[test]
    fn the_current_file_stays_even_when_no_records_are_kept() {
        let now = SystemTime::now();
        let file = Stored { modified: now, name: "now".to_owned() };
        let retention = Retention { records: 0, ..Retention::default() };
        assert_eq!(plan(vec![file], "now", retention, now), Garbage::default());
    }
}
