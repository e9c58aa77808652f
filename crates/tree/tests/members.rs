//! What a change to a tree costs when earlier members are at hand.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_tree::{
    Cutter, Files, Hash, Ignore, Item, Memory, PackLimits, Part, content, member, member_key, runs, select,
    trailer,
};
use sluice_types::RelPath;

fn tree(changed: Option<usize>) -> Memory {
    let mut tree = Memory::default();
    for n in 0..3000_usize {
        let path = RelPath::new(&format!("apps/team-{}/app-{n}/deployment.yaml", n % 17)).unwrap();
        let text =
            format!("kind: Deployment\nname: app-{n}\n{}", if changed == Some(n) { "new" } else { "" });
        tree.insert(&path, text.into_bytes()).unwrap();
    }
    tree.insert(&RelPath::new("big.bin").unwrap(), vec![7; 300_000]).unwrap();
    tree
}

fn members(tree: &Memory) -> Vec<Vec<Part>> {
    let items = select(tree, &Ignore::none(), PackLimits::default()).unwrap();
    let mut members = Vec::new();
    for run in runs(&items) {
        let (mut cutter, mut parts) = (Cutter::default(), Vec::new());
        for item in run {
            let bytes = content(tree, item).unwrap();
            if cutter.begins_member(bytes.len() as u64) {
                members.push(std::mem::take(&mut parts));
            }
            parts.push(Part { item: item.clone(), size: bytes.len() as u64, content: Hash::of(&bytes) });
        }
        members.push(parts);
    }
    members
}

#[test]
fn one_changed_file_makes_one_new_member() {
    let keys = |tree: &Memory| -> BTreeSet<Hash> { members(tree).iter().map(|m| member_key(m)).collect() };
    let (before, after) = (keys(&tree(None)), keys(&tree(Some(1234))));
    assert!(before.len() > 40);
    assert_eq!(after.difference(&before).count(), 1);
}

#[test]
fn members_packed_one_by_one_are_the_whole_archive() {
    let tree = tree(None);
    let mut archive = Vec::new();
    for parts in members(&tree) {
        let read = |item: &Item| -> Arc<[u8]> { content(&tree, item).unwrap() };
        archive.extend(member(parts.iter().map(|part| (&part.item, read(&part.item))), Vec::new()));
    }
    archive.extend(trailer());
    assert_eq!(archive, sluice_tree::pack(&tree, &Ignore::none(), PackLimits::default()).unwrap().0);
    assert!(tree.list(&RelPath::root()).unwrap().len() == 2);
}
