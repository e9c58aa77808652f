//! Every case under `fixtures/` builds to what kustomize v5.8.1 made of it; `record.sh` there records that.
//! Where a refusal is said to lie is ours: `UPDATE=1` rewrites `places.txt`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use sluice_kustomize::{Error, Options, build};
use sluice_tree::Memory;
use sluice_types::RelPath;

fn add(tree: &mut Memory, dir: &Path, root: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add(tree, &path, root);
            continue;
        }
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        tree.insert(&RelPath::new(&name).unwrap(), fs::read(&path).unwrap()).unwrap();
    }
}

fn built(case: &Path) -> Result<String, Error> {
    let root = case.join("in");
    let mut tree = Memory::default();
    add(&mut tree, &root, &root);
    let options = Options { shown_root: "@ROOT@", version: "v5.8.1", ..Options::default() };
    build(&tree, &RelPath::root(), &options).map(|built| built.to_yaml())
}

fn check(case: &Path) -> Result<(), String> {
    let built = built(case);
    let text = |name: &str| fs::read_to_string(case.join(name)).ok();
    match (built, text("expected.yaml"), text("expected_error.txt"), text("fragments.txt")) {
        (Ok(got), Some(wanted), ..) if got == wanted => Ok(()),
        (Ok(got), Some(wanted), ..) => Err(format!("wanted:\n{wanted}\ngot:\n{got}")),
        (Ok(got), ..) => Err(format!("wanted an error, got:\n{got}")),
        (Err(error), Some(_), ..) => Err(format!("wanted success, got: {error}")),
        (Err(error), None, _, Some(fragments)) => {
            let error = error.message();
            match fragments.lines().find(|line| !error.contains(line)) {
                None => Ok(()),
                Some(line) => Err(format!("wanted {line:?} in: {error}")),
            }
        }
        (Err(error), None, Some(wanted), None) if error.message().trim_end() == wanted.trim_end() => Ok(()),
        (Err(error), None, Some(wanted), None) => Err(format!("wanted: {wanted}\ngot: {error}")),
        (Err(_), None, None, None) => Err("nothing is expected; run record.sh".to_owned()),
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    cases
}

#[test]
fn every_recorded_case_builds_to_the_same_bytes() {
    let cases = cases();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case).err().map(|why| format!("--- {}\n{why}", case.display())))
        .collect();
    assert!(cases.len() > 100);
    assert!(
        failures.is_empty(),
        "{} of {} cases differ\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn every_refusal_names_the_file_and_line_it_belongs_to() {
    let mut places = String::new();
    for case in cases() {
        let Err(error) = built(&case) else { continue };
        let shown = error.to_string();
        let place = shown.strip_prefix(error.message()).unwrap().trim_end();
        places.push_str(&format!("{}{place}\n", case.file_name().unwrap().to_str().unwrap()));
    }
    let recorded = directory().join("places.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&recorded, &places).unwrap();
    }
    let wanted = fs::read_to_string(&recorded).unwrap();
    let without = |some: &str, others: &str| {
        let others: Vec<&str> = others.lines().collect();
        some.lines().filter(|line| !others.contains(line)).collect::<Vec<_>>().join("\n")
    };
    let (new, gone) = (without(&places, &wanted), without(&wanted, &places));
    assert!(places == wanted, "set UPDATE=1 to record them\n--- got\n{new}\n--- wanted\n{gone}");
}
