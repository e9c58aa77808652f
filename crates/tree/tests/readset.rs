//! A read-set stands for what was read: where it holds, reading again gives the same answers.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sluice_tree::{Files, Index, Memory, Recording};
use sluice_types::RelPath;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn trees() -> impl Strategy<Value = Memory> {
    prop::collection::btree_map("[ab](/[ab]){0,2}", ("[xy]", any::<bool>()), 0..6).prop_map(|files| {
        let mut tree = Memory::default();
        for (name, (content, executable)) in files {
            // A path that is already a directory stays one.
            let _ = match executable {
                true => tree.insert_executable(&path(&name), content.into_bytes()),
                false => tree.insert(&path(&name), content.into_bytes()),
            };
        }
        tree
    })
}

fn ask(files: &dyn Files, asked: &[(u8, String)]) -> Vec<String> {
    let ask = |(kind, name): &(u8, String)| match kind {
        0 => format!("{:?}", files.read(&path(name))),
        1 => format!("{:?}", files.list(&path(name))),
        _ => format!("{:?}", files.kind(&path(name))),
    };
    asked.iter().map(ask).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn where_a_read_set_holds_the_answers_are_the_same(
        before in trees(),
        after in trees(),
        asked in prop::collection::vec((0_u8..3, "([ab](/[ab]){0,2})?"), 0..5),
    ) {
        let recording = Recording::new(&before);
        let answers = ask(&recording, &asked);
        let set = recording.finish();
        prop_assert!(set.holds(&Index::of(&before).unwrap()));
        if set.holds(&Index::of(&after).unwrap()) {
            prop_assert_eq!(answers, ask(&after, &asked));
        }
    }
}
