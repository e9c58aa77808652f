//! How long builds take: in process over a tree in memory, as a process, and beside the real kustomize.
//!
//! `cargo bench -p sluice-kustomize`. The real one is `$KUSTOMIZE`, or `kustomize` on the path.

#![allow(clippy::unwrap_used)]

mod trees;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sluice_kustomize::{Options, build};
use sluice_tree::Memory;
use sluice_types::RelPath;
use trees::{DEPTH, GROWTHS, Tree, overlays};

const OURS: &str = env!("CARGO_BIN_EXE_kustomize-build");

fn main() {
    // Under `cargo test` there is nothing to measure.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    println!("in process, median");
    for (name, tree, dir) in [
        ("one overlay over 50 resources", overlays(1, 50), "o0"),
        ("20 overlays over 50 resources", overlays(20, 50), ""),
    ] {
        println!("  {name:44} {:>10}", ms(median(&in_process(&tree, dir, 21))));
    }
    let sizes = [10, 100, 1_000, 10_000];
    println!("\ngrowth in process, fastest of 5; the last column is the cost of ten times as many");
    growth("resources in one overlay", &sizes, "o0", |count| overlays(1, count));
    for (name, tree) in GROWTHS {
        growth(name, &sizes[..3], "", *tree);
    }
    growth(DEPTH.0, &[6, 60], "", DEPTH.1);
    processes();
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// How long each run took, the fastest first.
fn times(runs: usize, mut run: impl FnMut()) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times
}

fn median(times: &[Duration]) -> Duration {
    times[times.len() / 2]
}

fn in_process(tree: &Tree, dir: &str, runs: usize) -> Vec<Duration> {
    let files = Memory::of(tree.iter().map(|(path, text)| (path, text))).unwrap();
    let root = RelPath::new(dir).unwrap();
    times(runs, || drop(build(&files, &root, &Options::default()).unwrap().to_yaml()))
}

fn growth(name: &str, sizes: &[usize], dir: &str, tree: impl Fn(usize) -> Tree) {
    let times: Vec<Duration> = sizes.iter().map(|size| in_process(&tree(*size), dir, 5)[0]).collect();
    let shown: Vec<String> =
        sizes.iter().zip(&times).map(|(size, time)| format!("{size}: {}", ms(*time))).collect();
    let last = match times[..] {
        [.., before, after] => after.as_secs_f64() / before.as_secs_f64(),
        _ => 1.0,
    };
    println!("  {name:44} {}  ×{last:.1}", shown.join("  "));
}

/// The real one, if there is one.
fn theirs() -> Option<PathBuf> {
    let given = std::env::var_os("KUSTOMIZE").map_or_else(|| PathBuf::from("kustomize"), PathBuf::from);
    Command::new(&given).arg("version").output().is_ok_and(|out| out.status.success()).then_some(given)
}

fn processes() {
    let scratch = std::env::temp_dir().join(format!("sluice-bench-{}", std::process::id()));
    let theirs = theirs();
    println!("\nas a process, median of 5; peak memory");
    match &theirs {
        None => println!("  no kustomize on the path nor in $KUSTOMIZE: nothing to compare with"),
        Some(path) => {
            let version = Command::new(path).arg("version").output().unwrap().stdout;
            println!("  beside {} {}", path.display(), String::from_utf8_lossy(&version).trim());
        }
    }
    let cases = [
        ("one overlay over 50 resources", overlays(1, 50), "o0"),
        ("20 overlays over 50 resources", overlays(20, 50), "."),
        ("one overlay over 10 resources", overlays(1, 10), "o0"),
        ("one overlay over 100 resources", overlays(1, 100), "o0"),
        ("one overlay over 1000 resources", overlays(1, 1_000), "o0"),
    ];
    for (at, (name, tree, dir)) in cases.into_iter().enumerate() {
        let place = scratch.join(at.to_string());
        write(&place, &tree);
        let place = place.join(dir);
        let (time, memory) = process(Path::new(OURS), &place);
        print!("  {name:44} {:>10} {memory:>6}", ms(time));
        if let Some(path) = &theirs {
            let (theirs, memory) = process(path, &place);
            print!(
                "   theirs {:>10} {memory:>6}  {:.0} times as long",
                ms(theirs),
                theirs.as_secs_f64() / time.as_secs_f64()
            );
        }
        println!();
    }
    std::fs::remove_dir_all(&scratch).unwrap();
}

fn write(dir: &Path, tree: &Tree) {
    for (path, text) in tree {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn arguments(program: &Path, dir: &Path) -> Vec<PathBuf> {
    let verb = (program != Path::new(OURS)).then(|| PathBuf::from("build"));
    verb.into_iter().chain([dir.to_owned()]).collect()
}

fn process(program: &Path, dir: &Path) -> (Duration, String) {
    let time = times(5, || {
        let mut command = Command::new(program);
        let status =
            command.args(arguments(program, dir)).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success());
    });
    (median(&time), memory(program, dir).unwrap_or_else(|| "?".to_owned()))
}

/// Peak memory as `time` reports it, where that is installed.
fn memory(program: &Path, dir: &Path) -> Option<String> {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%M"]).arg(program).args(arguments(program, dir));
    let out = command.stdout(Stdio::null()).output().ok()?;
    let kilobytes: f64 = String::from_utf8_lossy(&out.stderr).lines().last()?.parse().ok()?;
    Some(format!("{:.1} MB", kilobytes / 1024.0))
}
